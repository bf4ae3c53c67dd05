// Command link measures what an alert costs on the wire. It runs the agent against a fake of Feishu behind TLS and a TCP proxy
// that can cut, drop silently, delay and throttle, feeds it events from a small API server, and counts the bytes that pass the
// proxy, both ways, TLS included, headers of TCP and IP not. It prints a Markdown table, and ends by itself within some minutes.
//
// The content is made from a seed, which is printed. The bytes of a run may differ from those of another by a few for each message,
// because times, signatures and tickets have no fixed length.
package main
