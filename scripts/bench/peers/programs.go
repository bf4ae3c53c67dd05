package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
)

// site is where a program runs.
type site struct {
	stage   *stage.Stage
	cluster *clustertest.Cluster
	dir     string
	// url is that of the receiver, host its host and port.
	url, host string
}

// program is one that is compared. Its configuration is what its guide shows for a webhook, with every setting in its favour that keeps
// events: no age limit below an hour, no limit of its requests, its storage on disk where it has one.
type program struct {
	name, path string
	// prepare writes what the program reads and returns its command line.
	prepare func(s *site, binary string) ([]string, error)
}

func programs() []program {
	return []program{
		{"edge-eventer", "bin/edge-eventer", func(s *site, binary string) ([]string, error) {
			config, err := s.write("config.yaml", fmt.Sprintf(`cluster: shop-17
kubernetes: {kubeconfig: %q}
spool: {path: %q, maxBytes: 64Mi}
server: {listen: ""}
receivers: [{name: archive, type: webhook, fold: event, url: %q}]
`, s.cluster.AgentKubeconfig, filepath.Join(s.dir, "spool", "spool.db"), s.url))
			return []string{binary, "run", "--config", config}, err
		}},
		{"kubernetes-event-exporter", "", func(s *site, binary string) ([]string, error) {
			config, err := s.write("kee.yaml", fmt.Sprintf(`logLevel: error
logFormat: json
maxEventAgeSeconds: 3600
kubeQPS: 1000
kubeBurst: 5000
omitLookup: true
route: {routes: [{match: [{receiver: archive, type: Warning}]}]}
receivers: [{name: archive, webhook: {endpoint: %q}}]
`, s.url))
			return []string{binary, "-conf", config, "-kubeconfig", s.cluster.AdminKubeconfig, "-metrics-address", "127.0.0.1:0"}, err
		}},
		{"kube-eventer", "", func(s *site, binary string) ([]string, error) {
			// Its own body has no name of the event in it.
			err := s.post("/api/v1/namespaces/kube-system/configmaps", map[string]any{
				"metadata": map[string]string{"name": "body"},
				"data":     map[string]string{"content": `{"name":"{{ .ObjectMeta.Name }}","reason":"{{ .Reason }}","kind":"{{ .InvolvedObject.Kind }}","message":"{{ .Message }}"}`},
			})
			return []string{
				binary, "--source=kubernetes:" + s.cluster.Server + "?inClusterConfig=false&useServiceAccount=false&auth=" + s.cluster.AdminKubeconfig,
				"--sink=webhook:" + s.url + "/?level=Warning&method=POST&header=Content-Type=application/json&custom_body_configmap=body&custom_body_configmap_namespace=kube-system",
				"--healthz-ip=127.0.0.1", "--healthz-port=0",
			}, err
		}},
		{"fluent-bit", "", func(s *site, binary string) ([]string, error) {
			ca, err := s.authority()
			if err != nil {
				return nil, err
			}
			config, err := s.write("fluent-bit.yaml", fmt.Sprintf(`service:
  flush: 1
  log_level: error
  storage.path: %q
pipeline:
  inputs:
    - name: kubernetes_events
      kube_url: %q
      kube_ca_file: %q
      kube_token_file: %q
      db: %q
      storage.type: filesystem
      kube_retention_time: 1h
  outputs:
    - name: http
      match: "*"
      host: 127.0.0.1
      port: %s
      uri: /
      format: json
      retry_limit: no_limits
`, filepath.Join(s.dir, "chunks"), s.cluster.Server, ca, s.cluster.AgentToken, filepath.Join(s.dir, "events.db"), s.host[len("127.0.0.1:"):]))
			return []string{binary, "-c", config}, err
		}},
	}
}

func (s *site) write(name, text string) (string, error) {
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// authority writes the API server's certificate authority into a file.
func (s *site) authority() (string, error) {
	config, err := clientcmd.BuildConfigFromFlags("", s.cluster.AgentKubeconfig)
	if err != nil {
		return "", err
	}
	if config.CAFile != "" {
		return config.CAFile, nil
	}
	return s.write("ca.pem", string(config.CAData))
}

// post creates an object as the administrator.
func (s *site) post(path string, object any) error {
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(s.stage.Context(), http.MethodPost, s.cluster.Server+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := clustertest.Client(s.stage, s.cluster.AdminKubeconfig).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return nil
}
