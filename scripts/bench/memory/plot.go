package main

import (
	"bytes"
	"fmt"
	"html"
	"slices"
	"strings"
	"time"
)

// The plot has a panel for each run, two in a row, all with the same scale of memory and each with its own of time.
const (
	panelWidth, panelHeight = 400, 210
	marginLeft, marginTop   = 52, 104
	gapX, gapY              = 56, 84
	// points is at most how many of the samples are drawn: more do not show.
	points = 400
)

// style has colours that are told apart by people who see few colours, on white and on GitHub's dark page.
const style = `
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px }
.small { font-size: 11px }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.axis { stroke: #59636e; stroke-width: 1 }
.anon { fill: #0072b2 }
.file { fill: #e69f00; fill-opacity: .55 }
.peak { fill: none; stroke: #1f2328; stroke-width: 1.5 }
.charged { fill: none; stroke: #009e73; stroke-width: 1.5 }
.limit { stroke: #d55e00; stroke-width: 1.5; stroke-dasharray: 6 4 }
.phase { stroke: #59636e; stroke-width: 1; stroke-dasharray: 2 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .grid { stroke: #30363d }
  .axis, .phase { stroke: #8b949e }
  .anon { fill: #56b4e9 }
  .peak { stroke: #e6edf3 }
}
`

// plot draws the runs as SVG.
func plot(results []*result) []byte {
	top := int64(32 << 20)
	for _, r := range results {
		for _, s := range r.samples {
			top = max(top, s.peak, s.charged, s.resident())
		}
	}
	// A line for each 8 MiB.
	const step = 8 << 20
	top = (top + step - 1) / step * step
	columns := min(2, len(results))
	rows := (len(results) + columns - 1) / columns
	width := marginLeft + columns*panelWidth + (columns-1)*gapX + 20
	height := marginTop + rows*panelHeight + (rows-1)*gapY + 50
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="Memory of edge-eventer over the run">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&b, "<style>%s</style>\n", style)
	legend(&b)
	for _, r := range results {
		// All runs have the same phases, unless they did not come that far.
		if len(r.phases) == phaseCount {
			phaseLegend(&b, r.phases)
			break
		}
	}
	for i, r := range results {
		x := marginLeft + i%columns*(panelWidth+gapX)
		y := marginTop + i/columns*(panelHeight+gapY)
		(&panel{b: &b, x: float64(x), y: float64(y), top: top, r: r}).draw()
	}
	fmt.Fprintln(&b, "</svg>")
	return b.Bytes()
}

func legend(b *bytes.Buffer) {
	x := marginLeft
	for _, entry := range []struct{ class, text string }{
		{"anon", "RssAnon"}, {"file", "RssFile"}, {"peak", "VmHWM"}, {"charged", "cgroup, with page cache"}, {"limit", "limit of the cgroup"},
	} {
		if entry.class == "anon" || entry.class == "file" {
			fmt.Fprintf(b, `<rect class="%s" x="%d" y="12" width="20" height="12"/>`, entry.class, x)
		} else {
			fmt.Fprintf(b, `<path class="%s" d="M%d 18h20"/>`, entry.class, x)
		}
		fmt.Fprintf(b, `<text x="%d" y="22">%s</text>`+"\n", x+26, entry.text)
		x += 46 + 7*len(entry.text)
	}
}

func phaseLegend(b *bytes.Buffer, phases []phase) {
	var names []string
	for i, ph := range phases {
		names = append(names, fmt.Sprintf("%d: %s", i+1, ph.name))
	}
	fmt.Fprintf(b, `<text x="%d" y="44">%s</text>`+"\n", marginLeft, html.EscapeString(strings.Join(names, " \u2003 ")))
}

// panel is the picture of one run.
type panel struct {
	b    *bytes.Buffer
	x, y float64
	top  int64
	r    *result
	end  time.Duration
}

func (p *panel) px(at time.Duration) float64 { return p.x + panelWidth*float64(at)/float64(p.end) }
func (p *panel) py(bytes int64) float64 {
	return p.y + panelHeight*(1-float64(bytes)/float64(p.top))
}

func (p *panel) draw() {
	title := "no limit"
	if p.r.limit > 0 {
		title = "limit " + limitName(p.r.limit)
	}
	title += ": " + strings.ReplaceAll(p.r.ending(), "**", "")
	fmt.Fprintf(p.b, `<text class="title" x="%.0f" y="%.0f">%s</text>`+"\n", p.x, p.y-26, html.EscapeString(title))
	for bytes := int64(0); bytes <= p.top; bytes += 8 << 20 {
		fmt.Fprintf(p.b, `<path class="grid" d="M%.0f %.1fh%d"/><text class="small" x="%.0f" y="%.1f" text-anchor="end">%d</text>`+"\n",
			p.x, p.py(bytes), panelWidth, p.x-6, p.py(bytes)+4, bytes>>20)
	}
	fmt.Fprintf(p.b, `<text class="small" x="%.0f" y="%.0f" text-anchor="end">MiB</text>`+"\n", p.x-6, p.y-12)
	if len(p.r.samples) == 0 {
		return
	}
	p.end = p.r.peak().at
	p.series()
	p.phases()
	if p.r.limit > 0 {
		fmt.Fprintf(p.b, `<path class="limit" d="M%.0f %.1fh%d"/>`+"\n", p.x, p.py(p.r.limit), panelWidth)
	}
	fmt.Fprintf(p.b, `<path class="axis" d="M%.0f %.0fh%d"/>`+"\n", p.x, p.y+panelHeight, panelWidth)
	seconds := tickSeconds(p.end)
	for at := time.Duration(0); at <= p.end; at += seconds {
		fmt.Fprintf(p.b, `<text class="small" x="%.0f" y="%.0f" text-anchor="middle">%.0f</text>`, p.px(at), p.y+panelHeight+16, at.Seconds())
	}
	fmt.Fprintf(p.b, "\n"+`<text class="small" x="%.0f" y="%.0f" text-anchor="middle">seconds since the agent's start</text>`+"\n",
		p.x+panelWidth/2, p.y+panelHeight+32)
}

// tickSeconds is the distance of the marks of the time axis: at most eight of them.
func tickSeconds(end time.Duration) time.Duration {
	for _, s := range []time.Duration{1, 2, 5, 10, 20, 30, 60, 120, 300} {
		if end/(s*time.Second) <= 8 {
			return s * time.Second
		}
	}
	return 10 * time.Minute
}

// thin returns at most points samples, of each group the one with the most resident memory, so that no peak is lost.
func thin(samples []sample) []sample {
	group := (len(samples) + points - 1) / points
	var thinned []sample
	for chunk := range slices.Chunk(samples, group) {
		thinned = append(thinned, slices.MaxFunc(chunk, func(a, b sample) int { return int(a.resident() - b.resident()) }))
	}
	return thinned
}

func (p *panel) series() {
	samples := thin(p.r.samples)
	line := func(value func(*sample) int64) string {
		var path strings.Builder
		for i := range samples {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(i, 1)], p.px(samples[i].at), p.py(value(&samples[i])))
		}
		return path.String()
	}
	area := func(value func(*sample) int64) string {
		return fmt.Sprintf("%sL%.1f %.1fL%.1f %.1fZ", line(value), p.px(samples[len(samples)-1].at), p.py(0), p.px(samples[0].at), p.py(0))
	}
	anon := func(s *sample) int64 { return s.anon }
	fmt.Fprintf(p.b, `<path class="file" d="%s"/>`+"\n", area((*sample).resident))
	fmt.Fprintf(p.b, `<path class="anon" d="%s"/>`+"\n", area(anon))
	fmt.Fprintf(p.b, `<path class="charged" d="%s"/>`+"\n", line(func(s *sample) int64 { return s.charged }))
	fmt.Fprintf(p.b, `<path class="peak" d="%s"/>`+"\n", line(func(s *sample) int64 { return s.peak }))
}

// phases marks where each begins, with the number that the legend explains.
func (p *panel) phases() {
	for i, ph := range p.r.phases {
		x := p.px(ph.from)
		if i > 0 {
			fmt.Fprintf(p.b, `<path class="phase" d="M%.1f %.0fV%.0f"/>`, x, p.y-16, p.y+panelHeight)
		}
		fmt.Fprintf(p.b, `<text class="small" x="%.1f" y="%.0f">%d</text>`+"\n", x+3, p.y-6, i+1)
	}
}
