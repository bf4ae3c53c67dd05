// Package mqtt publishes incidents to an MQTT 5 broker, each as a message of QoS 1, and believes the reason in its PUBACK. That nobody
// has subscribed to the topic is no delivery. MQTT 3.1.1 is not spoken: there a refusal looks like a yes.
//
// Retry stays with the caller's queue: a session is clean and ends with its connection, so that neither side repeats anything behind the
// caller's back. An attempt ends at its time-out whatever the broker does, and what is read of it is bounded.
//
// A connection is opened on demand and closed a minute after the last message, or kept. A kept one has a last will, by which the
// broker itself says that the site is gone.
//
// Protocol: OASIS MQTT Version 5.0.
package mqtt
