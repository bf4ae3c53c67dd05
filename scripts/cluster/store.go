package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// storeWriters is how many writes are under way at once; sqlite takes one at a time.
	storeWriters = 8
	// maxStored bounds an object, which etcd does at 1.5 MiB.
	maxStored = 2 << 20
)

// store puts the events of a file, a line of JSON each, into the datastore, past the API server: as it would store them, but in its
// other encoding. They live as long as all events.
func (c *controlPlane) store(ctx context.Context, file string) error {
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer in.Close()
	client, err := c.etcdClient()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lines := make(chan string)
	var writers sync.WaitGroup
	for range storeWriters {
		writers.Go(func() {
			for line := range lines {
				if err := put(ctx, client, line, c.eventTTL); err != nil {
					cancel(err)
				}
			}
		})
	}
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, maxStored)
	for ctx.Err() == nil && scanner.Scan() {
		lines <- scanner.Text()
	}
	close(lines)
	writers.Wait()
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("store: read %s: %w", file, err)
	}
	return nil
}

// put stores one event that is not there yet.
func put(ctx context.Context, client *clientv3.Client, line string, ttl time.Duration) error {
	var event struct {
		Metadata struct{ Namespace, Name string }
	}
	if err := json.Unmarshal([]byte(line), &event); err != nil {
		return fmt.Errorf("read an event: %w", err)
	}
	key := "/registry/events/" + event.Metadata.Namespace + "/" + event.Metadata.Name
	// A lease's number is its time to live in kine.
	lease := clientv3.WithLease(clientv3.LeaseID(ttl / time.Second))
	done, err := client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).Then(clientv3.OpPut(key, line, lease)).Commit()
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	if !done.Succeeded {
		return fmt.Errorf("write %s: it is there already", key)
	}
	return nil
}
