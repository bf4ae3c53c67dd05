// Package page shows the last 24 hours of an agent as one page for a browser. It promises:
//
//   - It changes nothing: it answers GET and HEAD only.
//   - It is self-contained and below 30 KB; its Content-Security-Policy allows its own style and script by their hashes and
//     nothing else, and event text reaches the page as text, never as markup.
//   - Memory is bounded: 289 samples of 5 minutes, at most 15 incidents and 20 deliveries, whatever the spool holds. A browser that asks every 10
//     seconds costs one reading of the status; incidents are read again at most every 10 seconds, however many browsers ask.
//   - The history survives a restart: the samples are stored in the spool as at most 4 KiB, every 30 minutes with a commit that is
//     made anyway, and at the end. A power cut forgets half an hour of it; it is no record, the metrics and the receivers are.
package page
