// Package status is the one document that says how an agent stands, and what is made of it. It promises:
//
//   - The agent fills one [Document] from its stages at the time of a question. /metrics, /readyz, the control socket, the status page and the
//     terminal read that document and nothing else, so they cannot contradict each other.
//   - [Document.Judge] computes once, in the configured language, whether the agent works, why not, and what is worth knowing. Nobody else judges.
//   - The package asks nothing: it imports no stage, opens no file and takes no lock. A document belongs to whoever has it, and nobody changes
//     it after Judge.
//   - What it makes is bounded by the configuration: receivers' names, watched namespaces and fixed words, never by what events hold.
package status
