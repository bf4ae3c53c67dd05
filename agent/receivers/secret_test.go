package receivers

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
)

// TestAgentKnowsThatItWaitsForASecret with a receiver whose file is not there, until it is.
func TestAgentKnowsThatItWaitsForASecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "feishu-url")
		receiver, err := configtest.New(configtest.Keys{
			Name: "ops", Type: "feishu", URL: notify.SecretFile(path), Cluster: "shop-1",
			DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed },
		})
		if err != nil {
			t.Fatal(err)
		}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": receiver})
		h.Start()
		defer h.Close()
		u := Set{workers: []*worker{{delivery: h.Deliveries["ops"]}}}
		if u.SecretMissing() {
			t.Error("it waits for a secret before anything was sent")
		}
		h.Show(agenttest.Warning("web", 1, 1, time.Now()))
		agenttest.Pass(time.Minute)
		if !u.SecretMissing() {
			t.Error("the file with the address is missing, and it does not wait for it")
		}
		if err := os.WriteFile(path, []byte("http://127.0.0.1:1/hook"), 0o600); err != nil {
			t.Fatal(err)
		}
		agenttest.Pass(time.Hour)
		if u.SecretMissing() {
			t.Error("the file is there, and it still waits for it")
		}
	})
}
