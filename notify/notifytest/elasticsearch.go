package notifytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Elasticsearch takes bulk requests as Elasticsearch and OpenSearch do: each item has its own verdict, and an ID that is there is a
// conflict.
type Elasticsearch struct {
	// APIKey is the encoded key of the Authorization header; empty: nobody is asked.
	APIKey string
	// Index is the one that exists; empty: any.
	Index string

	mu        sync.Mutex
	documents map[string]json.RawMessage
	order     []string
	refuse    func(id string) (status int, kind string)
}

// Documents returns what is stored, in the order of its arrival.
func (p *Elasticsearch) Documents() []json.RawMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]json.RawMessage, 0, len(p.order))
	for _, id := range p.order {
		all = append(all, p.documents[id])
	}
	return all
}

// RefuseItems gives items the status and error type that refuse returns for their ID; 0 takes the item.
func (p *Elasticsearch) RefuseItems(refuse func(id string) (status int, kind string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// TooFast is the refusal of the whole request while the write queue is full.
func (*Elasticsearch) TooFast() Answer {
	return Answer{Status: http.StatusTooManyRequests, Body: `{"error":{"type":"es_rejected_execution_exception","reason":"rejected execution of coordinating operation"},"status":429}`}
}

// Refusal is the answer to a wrong key.
func (*Elasticsearch) Refusal() Answer {
	return Answer{Status: http.StatusUnauthorized, Body: `{"error":{"type":"security_exception","reason":"unable to authenticate with provided credentials and anonymous access is not allowed for this request"},"status":401}`}
}

type bulkItem struct {
	ID     string         `json:"_id,omitempty"`
	Status int            `json:"status"`
	Error  map[string]any `json:"error,omitempty"`
}

// Judge checks a bulk request.
func (p *Elasticsearch) Judge(r *http.Request, body []byte, _ time.Time) (Answer, bool) {
	refuse := func(status int, kind, reason string) (Answer, bool) {
		return Answer{Status: status, Body: fmt.Sprintf(`{"error":{"type":%q,"reason":%q},"status":%d}`, kind, reason, status)}, false
	}
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case p.APIKey != "" && r.Header.Get("Authorization") != "ApiKey "+p.APIKey:
		return p.Refusal(), false
	case r.Method != http.MethodPost || len(path) < 2 || path[len(path)-1] != "_bulk":
		return refuse(http.StatusMethodNotAllowed, "method_not_allowed", "Incorrect HTTP method for uri")
	case r.Header.Get("Content-Type") != "application/x-ndjson":
		return refuse(http.StatusNotAcceptable, "content_type_header_exception", "Content-Type header is not supported")
	case r.ContentLength < 0:
		return refuse(http.StatusLengthRequired, "illegal_argument_exception", "a length is required")
	case p.Index != "" && path[len(path)-2] != p.Index:
		return refuse(http.StatusNotFound, "index_not_found_exception", "no such index ["+path[len(path)-2]+"]")
	case !bytes.HasSuffix(body, []byte("\n")):
		return refuse(http.StatusBadRequest, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
	}
	lines := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	if len(lines)%2 != 0 {
		return refuse(http.StatusBadRequest, "illegal_argument_exception", "Malformed action/metadata line")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var items []map[string]bulkItem
	failed := false
	for i := 0; i < len(lines); i += 2 {
		item, err := p.create(lines[i], lines[i+1])
		if err != nil {
			return refuse(http.StatusBadRequest, "illegal_argument_exception", err.Error())
		}
		failed = failed || item.Status != http.StatusCreated
		if filter := r.URL.Query().Get("filter_path"); filter != "" && !strings.Contains(filter, "_id") {
			item.ID = ""
		}
		items = append(items, map[string]bulkItem{"create": item})
	}
	answer, _ := json.Marshal(map[string]any{"took": 3, "errors": failed, "items": items})
	return Answer{Header: map[string]string{"Content-Type": "application/json"}, Body: string(answer)}, true
}

func (p *Elasticsearch) create(action, source []byte) (bulkItem, error) {
	var a struct {
		Create *struct {
			ID string `json:"_id"`
		} `json:"create"`
	}
	if err := json.Unmarshal(action, &a); err != nil || a.Create == nil || a.Create.ID == "" || len(a.Create.ID) > 512 {
		return bulkItem{}, fmt.Errorf("malformed action/metadata line, found %.80q", action)
	}
	item := bulkItem{ID: a.Create.ID, Status: http.StatusCreated}
	fail := func(status int, kind, reason string) (bulkItem, error) {
		item.Status, item.Error = status, map[string]any{"type": kind, "reason": reason}
		return item, nil
	}
	if p.refuse != nil {
		if status, kind := p.refuse(item.ID); status != 0 {
			return fail(status, kind, "refused by the test")
		}
	}
	var document map[string]any
	if err := json.Unmarshal(source, &document); err != nil {
		return fail(http.StatusBadRequest, "document_parsing_exception", "failed to parse")
	}
	if text, _ := document["@timestamp"].(string); text == "" {
		return fail(http.StatusBadRequest, "document_parsing_exception", "data stream timestamp field [@timestamp] is missing")
	} else if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
		return fail(http.StatusBadRequest, "document_parsing_exception", "failed to parse date field")
	}
	if _, there := p.documents[item.ID]; there {
		return fail(http.StatusConflict, "version_conflict_engine_exception", "["+item.ID+"]: version conflict, document already exists")
	}
	if p.documents == nil {
		p.documents = make(map[string]json.RawMessage)
	}
	p.documents[item.ID] = bytes.Clone(source)
	p.order = append(p.order, item.ID)
	return item, nil
}
