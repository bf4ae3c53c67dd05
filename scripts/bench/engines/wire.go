package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/watch/stream"
	"github.com/edge-eventer/edge-eventer/notify"
)

// recorded returns what a receiver with fold: event is told of a hundred events of a real cluster.
func recorded() ([]notify.Incident, error) {
	files, err := filepath.Glob("agent/watch/stream/testdata/events/*-*.json")
	if err != nil || len(files) == 0 {
		return nil, errors.Join(errNoEvents, err)
	}
	policy := incident.Policy{PerEvent: true}
	var incidents []notify.Incident
	for i := range batches[len(batches)-1] {
		path := files[i%len(files)]
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		e, err := stream.DecodeEvent(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		// They are from another day, and there are fewer than are needed: each is another event.
		now := time.Now()
		id := sha256.Sum256([]byte{byte(i)})
		e.UID = fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16])
		e.Name = fmt.Sprintf("%s.%x", e.InvolvedObject.Name, id[:8])
		e.FirstTimestamp, e.LastTimestamp = now.Add(-time.Minute), now
		in, _, _ := policy.Fold(nil, &incident.Observation{
			Event: e, Workload: event.Workload(e.InvolvedObject.Kind, e.InvolvedObject.Name), New: uint32(max(1, e.Observed())), At: now,
		})
		incidents = append(incidents, in.Alert(policy, "shop-17", notify.Warning))
	}
	return incidents, nil
}

// counted counts what goes over its connections.
type counted struct {
	net.Conn
	bytes *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// wire sends the incidents alone, in tens and in hundreds over a connection that is kept.
func (e *engine) wire(ctx context.Context, incidents []notify.Incident, c *cost) error {
	settings, err := config.Parse([]byte("cluster: shop-17\n" + e.receivers()))
	if err != nil {
		return err
	}
	var bytes atomic.Int64
	common := settings.Receivers[0].Common(settings)
	common.Version = "1.0.0"
	common.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &counted{conn, &bytes}, nil
	}
	receiver, err := settings.Receivers[0].New(common)
	if err != nil {
		return err
	}
	defer receiver.Close()
	if err := send(ctx, receiver, incidents[:1]); err != nil {
		return err
	}
	c.first = bytes.Load()
	most := batches[len(batches)-1]
	for i, size := range batches {
		for j := range incidents {
			// News to a server that knows what it has.
			incidents[j].ID = fmt.Sprintf("%s.%d", incidents[j].UID, 4000+10*j+i)
		}
		before := bytes.Load()
		for at := 0; at < most; at += size {
			if err := send(ctx, receiver, incidents[at:at+size]); err != nil {
				return err
			}
		}
		c.wire[i] = float64(bytes.Load()-before) / float64(most)
	}
	return nil
}

var errNoEvents = errors.New("no recorded events: run it in the project's folder")

var errLeftOut = errors.New("the request leaves incidents out")

func send(ctx context.Context, r notify.Receiver, incidents []notify.Incident) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request, err := r.Render(&notify.Message{Now: time.Now(), Incidents: incidents}, notify.Full)
	if err != nil {
		return err
	}
	if len(request.Indexes()) != len(incidents) {
		return fmt.Errorf("%d of %d: %w", len(request.Indexes()), len(incidents), errLeftOut)
	}
	return r.Send(ctx, request)
}
