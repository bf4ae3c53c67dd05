// Command engines measures what each engine costs: bytes of the binary, memory, and bytes on the wire for an event. scripts/bench-engines
// starts it and says how.
package main
