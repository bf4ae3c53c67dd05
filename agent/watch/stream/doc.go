// Package stream reads the answers of an API server to lists and watches of events, one value at a time.
//
// It promises:
//
//   - It holds at most 1 MiB of one event, and of a text in it what 16 KiB take as JSON, whatever the API server sends.
//   - An event that is too large, or is none, holds up no other: it says as much of itself as can be read.
//   - Every text of an event is valid UTF-8 of at most MaxMessage or MaxField bytes and a word on what is missing.
//
// It knows no request and no connection: package apiclient does.
package stream
