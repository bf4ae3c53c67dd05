// Command soak runs the real agent in random weather and balances the books at the end. scripts/soak starts it.
//
//   - rain.go makes events on the real control plane, enters them in the book, and deletes them when they are old.
//   - weather.go and hostility.go make the faults: each kind on a lane of its own, with its own random numbers from the seed.
//   - keeper.go starts and ends the agent, and asks it each second how it is.
//   - clock.go builds an agent whose clock can be set, network.go a network of its own whose routes and addresses can be changed.
//   - link.go is the way to the receivers, sink.go the receivers, which enter what they confirmed in the book.
//   - book.go knows every event's history and when what waits may be lost: in a flood, by an age that the agent cannot know to be none,
//     by damage, or unseen. balance.go says at the end what is missing that may not be, or was not counted, or was told to nobody.
//   - main.go starts all that and waits for the sky to clear.
package main
