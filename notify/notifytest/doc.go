// Package notifytest has faithful fakes of the receivers' far ends. Each checks what the real one checks, in its order, and
// gives its exact answers; faults are set from outside.
//
// A Fake is an http.Handler around a Platform, which knows one protocol. Server runs it on loopback and counts
// connections.
package notifytest
