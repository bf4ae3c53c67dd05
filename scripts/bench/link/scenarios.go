package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// run measures everything and prints the table.
func run(ctx context.Context, binary string, seed uint64, withDay bool, out io.Writer) error {
	dir, err := os.MkdirTemp("", "bench-link-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var requests atomic.Int64
	server, address, err := feishu(ctx, dir, 0, &requests)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()

	var rows []row
	// The slow link is that of a modem at the edge of its cell: 300 ms each way and 64 kbit/s.
	for _, slow := range []bool{false, true} {
		more, err := agentRun(ctx, binary, dir, address, seed, slow, &requests)
		if err != nil {
			log, _ := os.ReadFile(filepath.Join(dir, "agent.log"))
			return fmt.Errorf("%w\nlog of the agent:\n%s", err, log[max(0, len(log)-4096):])
		}
		rows = append(rows, more...)
	}
	naive, err := naiveRun(ctx, dir, address, seed)
	if err != nil {
		return err
	}
	rows = append(rows, naive...)
	if withDay {
		more, err := dayRun(ctx, binary, dir, seed)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}

	var table strings.Builder
	fmt.Fprintf(&table, "seed %d; bytes at the socket, both ways, TLS included, without headers of TCP and IP\n\n", seed)
	table.WriteString("| what | messages | bytes on the wire |\n|---|---:|---:|\n")
	for _, r := range rows {
		fmt.Fprintf(&table, "| %s | %d | %d |\n", r.what, r.messages, r.bytes)
	}
	_, err = io.WriteString(out, table.String())
	return err
}

func agentRun(ctx context.Context, binary, dir, address string, seed uint64, slow bool, requests *atomic.Int64) (rows []row, err error) {
	delay, rate := time.Duration(0), 0
	if slow {
		delay, rate = 300*time.Millisecond, 8000
	}
	link, err := newProxy(ctx, address, delay, rate)
	if err != nil {
		return nil, err
	}
	defer link.close()
	b := &bench{cluster: newCluster(seed), link: link, requests: requests.Load}
	api := httptest.NewServer(b.cluster)
	defer api.Close()
	defer api.CloseClientConnections()
	if err := os.RemoveAll(filepath.Join(dir, "spool")); err != nil {
		return nil, err
	}
	// Short times instead of hours: what is sent does not depend on them, because repeats within one outage are one incident.
	stop, err := start(ctx, binary, dir, link.address(), api.URL, "{groupWait: 1s, digestAge: 5s, maxBackoff: 2s, timeout: 5s}")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()

	// Numbers from 50 on are incidents of their own.
	alert := func(n int) func() { return func() { b.cluster.add(n, time.Now()) } }
	quiet := 2 * time.Second
	step := func(what string, trigger func()) error {
		r, err := b.measure(ctx, what, quiet, trigger)
		rows = append(rows, r)
		return err
	}
	if slow {
		quiet = 4 * time.Second
		return rows, step("one alert, new connection, 300 ms delay and 64 kbit/s", alert(50))
	}
	if err := step("one alert, new connection", alert(50)); err != nil {
		return nil, err
	}
	if err := step("one alert, connection kept alive", alert(51)); err != nil {
		return nil, err
	}
	link.set(pass)
	if err := step("one alert, new connection, TLS session resumed", alert(52)); err != nil {
		return nil, err
	}
	if err := step(fmt.Sprintf("burst: %d events of %d incidents at once", burstEvents, burstIncidents), func() {
		for i := range burstEvents {
			b.cluster.add(60+i%burstIncidents, time.Now())
		}
	}); err != nil {
		return nil, err
	}

	// The outage: what comes is cut off at once, as by a machine that has no link.
	link.set(cut)
	before := link.bytes.Load()
	begin := time.Now().Add(-6 * time.Hour)
	for i := range events {
		b.cluster.add(i%incidents, begin.Add(time.Duration(i)*6*time.Hour/events))
	}
	if err := until(ctx, "events are streamed", func() bool { given, all := b.cluster.given(); return given == all }); err != nil {
		return nil, err
	}
	// The last of them are committed within a second, and the oldest wait longer than digestAge.
	if err := pause(ctx, 10*time.Second); err != nil {
		return nil, err
	}
	rows = append(rows, row{"during the outage, link cut", 0, link.bytes.Load() - before})
	quiet = 8 * time.Second
	if err := step(fmt.Sprintf("after an outage of 6 h: %d events of %d incidents", events, incidents), func() { link.set(pass) }); err != nil {
		return nil, err
	}

	// A link that takes everything and gives nothing back.
	link.set(drop)
	before, connections := link.bytes.Load(), link.dropped.Load()
	alert(90)()
	if err := until(ctx, "two attempts into silence", func() bool { return link.dropped.Load() >= connections+2 && link.quiet() > time.Second }); err != nil {
		return nil, err
	}
	attempts := link.dropped.Load() - connections
	rows = append(rows, row{"one attempt into a link that drops silently", 0, (link.bytes.Load() - before) / attempts})
	return rows, nil
}

// pause waits for a process that shows no sign of what is waited for.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// naiveRun sends one request an event with Go's default client, each over a new connection, as most event exporters do.
func naiveRun(ctx context.Context, dir, address string, seed uint64) ([]row, error) {
	link, err := newProxy(ctx, address, 0, 0)
	if err != nil {
		return nil, err
	}
	defer link.close()
	caPEM, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caPEM)
	source := newCluster(seed)
	for i := range naiveSample {
		if err := naiveSend(ctx, roots, link.address(), source.add(i%incidents, time.Now())); err != nil {
			return nil, err
		}
	}
	// What is on its way when a client closes is counted shortly after.
	if err := until(ctx, "naive sender", func() bool { return link.quiet() > time.Second }); err != nil {
		return nil, err
	}
	each := link.bytes.Load() / naiveSample
	return []row{
		{"naive sender: one event", 1, each},
		{fmt.Sprintf("naive sender: %d events (%d measured)", events, naiveSample), events, each * events},
	}, nil
}

func naiveSend(ctx context.Context, roots *x509.CertPool, address string, event []byte) error {
	var e struct {
		Reason, Message string
		InvolvedObject  struct{ Kind, Namespace, Name string }
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return err
	}
	text := fmt.Sprintf("cluster: shop-17\nkind: %s\nnamespace: %s\nname: %s\nreason: %s\nmessage: %s", e.InvolvedObject.Kind,
		e.InvolvedObject.Namespace, e.InvolvedObject.Name, e.Reason, e.Message)
	body, err := json.Marshal(map[string]any{"msg_type": "text", "content": map[string]string{"text": text}})
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+naivePath, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
