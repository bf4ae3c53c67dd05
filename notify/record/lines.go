package record

import (
	"bytes"
	"net/http"

	"github.com/edge-eventer/edge-eventer/notify"
)

// Lines makes a POST whose body is one incident behind the other, each as encode writes it within a limit, and then the losses: leading incidents,
// as many as batch allows but at least the first if there is one.
func Lines(
	m *notify.Message, batch notify.Batch, contentType string,
	encode func(in *notify.Incident, limit int) []byte, encodeLoss func(*notify.Loss) []byte,
) *notify.Request {
	var losses, body bytes.Buffer
	for i := range m.Losses[:min(len(m.Losses), notify.MaxLosses)] {
		losses.Write(encodeLoss(&m.Losses[i]))
	}
	limit := int(batch.MaxBytes) - losses.Len()
	n := 0
	for i := range m.Incidents[:min(len(m.Incidents), batch.Max)] {
		one := encode(&m.Incidents[i], limit)
		if n > 0 && body.Len()+len(one) > limit {
			break
		}
		body.Write(one)
		n++
	}
	body.Write(losses.Bytes())
	return &notify.Request{
		Method: http.MethodPost, Header: map[string]string{"Content-Type": contentType}, Body: body.Bytes(), Incidents: n, Time: m.Now,
		Losses: m.LossesIn(notify.LossesWhole),
	}
}
