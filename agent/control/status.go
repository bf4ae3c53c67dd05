package control

import "github.com/edge-eventer/edge-eventer/agent/status"

// The parts of the document under the names that they had here.
type (
	Status        = status.Document
	Watch         = status.Watch
	Spool         = status.Spool
	Receiver      = status.Receiver
	Delivery      = status.Delivery
	Budget        = status.Budget
	Configuration = status.Configuration
)
