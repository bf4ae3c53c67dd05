package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/k3s-io/kine/pkg/drivers"
	"github.com/k3s-io/kine/pkg/drivers/generic"
	"github.com/k3s-io/kine/pkg/drivers/sqlite"
	"github.com/k3s-io/kine/pkg/server"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

const (
	// kineSocket is relative to the folder, which is every component's working directory, because a socket's path has at
	// most 107 bytes.
	kineSocket = "kine.sock"

	// sqliteSource is K3s's, but for synchronous=OFF: after a SIGKILL the database is whole all the same, and the
	// disk is left alone.
	sqliteSource = "state.db?_journal_mode=WAL&_busy_timeout=30000&_synchronous=OFF&_txlock=immediate&_stmt_cache_size=20&cache=shared"
)

// runKine is kine's endpoint.Listen with its sqlite driver alone: the others, which K3s does not use by default, are 320
// packages more to compile. The settings are the defaults of kine's command line, except that a compaction may reach the
// current revision: kine would keep the last 1000 whatever it was asked for.
func runKine(args []string) error {
	flags := flag.NewFlagSet("kine", flag.ContinueOnError)
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	backendCtx, stopBackend := context.WithCancel(context.Background())
	defer stopBackend()

	var running sync.WaitGroup
	_, backend, err := sqlite.New(backendCtx, &running, &drivers.Config{
		DataSourceName: sqliteSource,
		ConnectionPoolConfig: generic.ConnectionPoolConfig{
			MaxIdle:     20,
			MaxIdleTime: 2 * time.Minute,
		},
		CompactTimeout:   5 * time.Second,
		CompactBatchSize: 1000,
		PollBatchSize:    500,
	})
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	if err := backend.Start(backendCtx); err != nil {
		return fmt.Errorf("start the backend: %w", err)
	}
	// The numbers are those of etcd's embed package.
	s := grpc.NewServer(
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 2 * time.Hour, Timeout: 20 * time.Second}),
		grpc.MaxRecvMsgSize(2<<20),
		grpc.MaxSendMsgSize(1<<31-1),
	)
	server.New(backend, "unix", 5*time.Second, "3.6.11").Register(s)

	if err := removeIfExists(kineSocket); err != nil {
		return fmt.Errorf("remove the socket of an earlier run: %w", err)
	}
	listener, err := net.Listen("unix", kineSocket)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	go func() {
		<-ctx.Done()
		timer := time.AfterFunc(2*time.Second, s.Stop)
		defer timer.Stop()
		s.GracefulStop()
	}()
	if err := s.Serve(listener); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	stopBackend()
	running.Wait()
	return nil
}

// etcdClient connects to kine. The caller closes it.
func (c *controlPlane) etcdClient() (*clientv3.Client, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{"http://kine"},
		DialTimeout: 5 * time.Second,
		DialOptions: []grpc.DialOption{
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", kineSocket)
			}),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to kine: %w", err)
	}
	return client, nil
}

// kineReady asks for a key as the API server's own health check does.
func (c *controlPlane) kineReady(ctx context.Context) error {
	// The etcd client logs each connection that is refused, so the socket is tried first.
	conn, err := new(net.Dialer).DialContext(ctx, "unix", kineSocket)
	if err != nil {
		return err
	}
	if err := conn.Close(); err != nil {
		return err
	}
	client, err := c.etcdClient()
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Get(ctx, "/registry/health")
	return err
}

// compact makes every resourceVersion that was handed out before it stale. Two writes of its own come first, since
// the revision compacted to is itself still a valid place to watch from.
func (c *controlPlane) compact(ctx context.Context) error {
	client, err := c.etcdClient()
	if err != nil {
		return err
	}
	defer client.Close()
	var revision int64
	for n := range 2 {
		key := fmt.Sprintf("/edge-eventer/compaction/%d/%d", time.Now().UnixNano(), n)
		put, err := client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).Then(clientv3.OpPut(key, "")).Commit()
		if err != nil {
			return fmt.Errorf("write to the datastore: %w", err)
		}
		if !put.Succeeded {
			return errors.New("write to the datastore: the key is there already")
		}
		revision = put.Header.Revision
	}
	if _, err := client.Compact(ctx, revision); err != nil {
		return fmt.Errorf("compact to revision %d: %w", revision, err)
	}
	// Kine answers also when its compaction failed, and logs why; what it did is seen in what it still shows.
	for channel := range client.Watch(ctx, "/edge-eventer/", clientv3.WithRev(1)) {
		if channel.CompactRevision >= revision {
			return nil
		}
		return fmt.Errorf("kine compacted to revision %d, not %d: see its log", channel.CompactRevision, revision)
	}
	return ctx.Err()
}
