package notify

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// errcodeReply is the answer of DingTalk and WeCom. Errcode is a pointer because DingTalk's gateway answers without one when it
// throttles, and the zero of a plain integer would read as success.
type errcodeReply struct {
	Errcode *int64
	Errmsg  string
}

// errcode reads the platform's own code. It returns an error for an answer that has none, and nil and nil for a yes.
func (a *answer) errcode(platform string) (*errcodeReply, *Error) {
	if a.broken != nil {
		return nil, a.broken
	}
	var reply errcodeReply
	if err := json.Unmarshal(a.body, &reply); err != nil || reply.Errcode == nil || *reply.Errcode == 0 && a.status != http.StatusOK {
		return nil, a.foreign(platform)
	}
	if *reply.Errcode == 0 {
		return nil, nil
	}
	reply.Errmsg = quoted(reply.Errmsg)
	return &reply, nil
}

func (r *errcodeReply) name() string { return strconv.FormatInt(*r.Errcode, 10) }
