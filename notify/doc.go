// Package notify renders incidents for the destinations people read, posts them, and believes only the destination's
// own answer.
//
// It promises:
//
//   - Send returns nil only if the answer itself says that the message was taken. HTTP status 200 with a platform's error
//     code, an empty object, HTML from a captive portal or a redirect is a failure.
//   - Every failure is an *Error with one of three outcomes: Retry, BadPayload, BadTarget. What an answer means is
//     decided by the platform's documented codes; what is documented nowhere is Retry.
//   - A rendered request never exceeds the platform's size limit, counted in the platform's own unit. What was cut says
//     how much of it is missing.
//   - The text of an event can neither notify anybody nor break the message around it.
//   - No error, log line or formatted value holds a URL's path or query, a token, a signing secret or a header's value.
//   - An answer is read to at most 64 KiB, no redirect is followed, every phase of a request has a time limit, and
//     nothing outlives Close.
//
// The package knows nothing of Kubernetes' libraries, of the spool or of the agent.
package notify
