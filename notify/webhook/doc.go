// Package webhook posts JSON to any URL: the documented batch of records, or a body of the operator's own that is made of templates.
//
// Delivered is what the answer shows as configured, any 2xx that is no page by default. A body made of templates is rendered leaf by
// leaf and then marshalled, so that no quote or line break of a message breaks it.
package webhook
