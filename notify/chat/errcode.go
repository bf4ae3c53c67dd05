package chat

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// ErrcodeReply is the answer of DingTalk and WeCom. Errcode is a pointer because DingTalk's gateway answers without one when it
// throttles, and the zero of a plain integer would read as success.
type ErrcodeReply struct {
	Errcode *int64
	Errmsg  string
}

// Errcode reads the platform's own code. It returns an error for an answer that has none, and nil and nil for a yes.
func Errcode(a *notify.Answer, platform string) (*ErrcodeReply, *notify.Error) {
	if a.Broken != nil {
		return nil, a.Broken
	}
	var reply ErrcodeReply
	if err := json.Unmarshal(a.Body, &reply); err != nil || reply.Errcode == nil || *reply.Errcode == 0 && a.Status != http.StatusOK {
		return nil, a.Foreign(platform)
	}
	if *reply.Errcode == 0 {
		return nil, nil
	}
	reply.Errmsg = untrusted.Quoted(reply.Errmsg)
	return &reply, nil
}

// Name is the code as text.
func (r *ErrcodeReply) Name() string { return strconv.FormatInt(*r.Errcode, 10) }
