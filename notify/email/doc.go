// Package email submits mail to an SMTP server, one thread for each incident, over TLS alone unless told otherwise, and believes nothing but
// the server's 250 after the message.
package email
