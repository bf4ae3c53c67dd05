// Package cloudevents posts incidents as CloudEvents 1.0 over HTTP, in structured mode, or in batched mode where it is asked to.
package cloudevents
