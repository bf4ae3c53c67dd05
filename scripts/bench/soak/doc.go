// Command soak runs the real agent in random weather and balances the books at the end. scripts/soak starts it.
//
//   - rain.go makes events on the real control plane, enters them in the book, and deletes them when they are old.
//   - weather.go makes the faults: each kind on a lane of its own, with its own random numbers from the seed.
//   - clock.go builds an agent whose clock can be set.
//   - link.go is the way to the receivers, sink.go the receivers, which enter what they confirmed in the book.
//   - book.go knows every event's history and what the spool cannot hold, and says at the end what is missing.
//   - main.go starts all that and waits for the sky to clear.
package main
