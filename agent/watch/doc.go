// Package watch shows the Warning events of a Kubernetes cluster to a [Sink], each version of each event at least once.
//
// It promises:
//
//   - Every version of an event that the API server shows from the sink's position on is handed to the sink, across
//     restarts of the agent, the API server and the datastore, expired positions and continue tokens, half-open connections,
//     silently closed watches and rotated credentials. A list may show again what a watch showed before: the sink drops
//     what it has by UID and resourceVersion.
//   - A list is taken page by page; the next page is asked for when the sink has the one before on disk.
//   - Memory is bounded by the page and by the frame, not by the number of events in the cluster or by their size.
//   - No failure ends it and none makes it loop without a pause.
//   - It needs get, list and watch on events, and nothing else.
//
// Of the packages below it, apiclient asks, and is the only one in the agent that imports client-go; stream reads the answers; health
// keeps how it goes. What is here decides what to ask next. DESIGN.md says why and what each fault does.
package watch
