// Package apiclient asks an API server for events, as the identity of a kubeconfig or of a pod's ServiceAccount.
//
// It promises:
//
//   - A connection that is half-open is noticed within 45 seconds, an answer that stalls within a minute.
//   - The API server sends at most 256 KiB ahead of who reads a watch, and of an error no more than 64 KiB are read.
//   - Rotated credentials are used: a token file is read again by client-go, everything else by Refresh.
//   - The credential goes nowhere but to the API server: no redirect is followed.
//
// It is built on client-go's rest.Config and plain net/http: no clientset, no REST client, no scheme of API types.
package apiclient
