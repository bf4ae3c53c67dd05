package faultproxy

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Fault answers a request in the API server's place. It may let forward, which is the way to the API server, do it.
type Fault func(w http.ResponseWriter, r *http.Request, forward http.Handler)

// goneStatus has the message of the API server's watch cache. For events, which have no cache, kube-apiserver 1.36 with kine
// says "The resourceVersion for the provided watch is too old."; reason and code are the same.
const goneStatus = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 1 (2)","reason":"Expired","code":410}`

// GoneFrame is the frame with which a watch that began well says that its resourceVersion is too old.
const GoneFrame = `{"type":"ERROR","object":` + goneStatus + `}`

// answer is a fault that says the same to everyone.
func answer(code int, header http.Header, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		maps.Copy(w.Header(), header)
		w.WriteHeader(code)
		// The client may have gone.
		_, _ = io.WriteString(w, body)
	}
}

// status is a fault that answers with a Kubernetes Status.
func status(code int, reason, message string, header http.Header) Fault {
	return answer(code, header, fmt.Sprintf(
		`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":%q,"reason":%q,"code":%d}`, message, reason, code))
}

// Gone answers 410 as the HTTP status, as for an expired continue.
func Gone() Fault { return answer(http.StatusGone, nil, goneStatus) }

// GoneInStream answers a watch with 200 and an ERROR frame that says 410, and ends it.
func GoneInStream() Fault { return answer(http.StatusOK, nil, GoneFrame+"\n") }

// SilentClose answers a watch with 200 and ends it at once, without a frame.
func SilentClose() Fault { return answer(http.StatusOK, nil, "") }

// Unauthorized answers 401.
func Unauthorized() Fault {
	return status(http.StatusUnauthorized, "Unauthorized", "Unauthorized", nil)
}

// Forbidden answers 403.
func Forbidden() Fault {
	return status(http.StatusForbidden, "Forbidden",
		`events is forbidden: User "system:serviceaccount:edge-eventer:edge-eventer" cannot list resource "events" in API group "" at the cluster scope`, nil)
}

// TooManyRequests answers 429 with Retry-After in whole seconds.
func TooManyRequests(retryAfter time.Duration) Fault {
	return status(http.StatusTooManyRequests, "TooManyRequests", "The request has failed, please try again later.",
		http.Header{"Retry-After": {strconv.Itoa(int(retryAfter / time.Second))}})
}

// InternalError answers 500.
func InternalError() Fault {
	return status(http.StatusInternalServerError, "InternalError", "Internal error occurred: etcdserver: leader changed", nil)
}

// Hang answers nothing until the client gives up.
func Hang() Fault {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }
}

// Break ends the request before anything is answered: over HTTP/2 the stream is reset, over HTTP/1.1 the connection ends.
func Break() Fault {
	return func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }
}

// CutInFrame lets so many whole frames of a watch pass, then half of the next, and ends the stream as Break does.
func CutInFrame(frames int) Fault {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(&frameCutter{answerWriter: answerWriter{w}, frames: frames}, r)
	}
}

// CutAfter lets so many bytes of an answer's body pass and ends it as Break does. An answer that is shorter passes whole.
func CutAfter(size int) Fault {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(&byteCutter{answerWriter: answerWriter{w}, left: size}, r)
	}
}

// Slow passes each piece of an answer's body on only after d. A piece is what the API server sends at once, usually a frame of
// a watch, and at most 32 KiB.
func Slow(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(&slowWriter{answerWriter: answerWriter{w}, request: r, delay: d}, r)
	}
}

// answerWriter passes an answer on; the writers below change how.
type answerWriter struct{ http.ResponseWriter }

// Flush sends what was written.
func (w answerWriter) Flush() {
	// Both servers of net/http can, and nothing can be done about a client that is gone.
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// cut sends the last bytes and breaks the answer off.
func (w answerWriter) cut(last []byte) {
	_, _ = w.Write(last)
	w.Flush()
	panic(http.ErrAbortHandler)
}

type frameCutter struct {
	answerWriter

	frames int
	// pending is the beginning of the frame that is cut. It is not sent before its end has come, since half of it is known
	// only then.
	pending []byte
}

func (w *frameCutter) Write(b []byte) (int, error) {
	written := len(b)
	for w.frames > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			_, err := w.ResponseWriter.Write(b)
			return written, err
		}
		if _, err := w.ResponseWriter.Write(b[:end+1]); err != nil {
			return written, err
		}
		w.frames--
		b = b[end+1:]
	}
	w.pending = append(w.pending, b...)
	if end := bytes.IndexByte(w.pending, '\n'); end >= 0 {
		w.cut(w.pending[:end/2])
	}
	return written, nil
}

type byteCutter struct {
	answerWriter

	left int
}

func (w *byteCutter) Write(b []byte) (int, error) {
	if len(b) > w.left {
		w.cut(b[:w.left])
	}
	w.left -= len(b)
	return w.ResponseWriter.Write(b)
}

type slowWriter struct {
	answerWriter

	request *http.Request
	delay   time.Duration
}

func (w *slowWriter) Write(b []byte) (int, error) {
	timer := time.NewTimer(w.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return w.ResponseWriter.Write(b)
	case <-w.request.Context().Done():
		return 0, w.request.Context().Err()
	}
}
