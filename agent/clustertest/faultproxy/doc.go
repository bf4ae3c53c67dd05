// Package faultproxy stands in front of an API server and answers chosen requests wrongly, late, in part or not at all. Only tests
// import it.
//
// [Before] starts a [Proxy] for a control plane. A [Fault] that is armed for a [Match] answers the next requests of that kind;
// connections can be frozen, which makes them half-open, reset, or refused.
package faultproxy
