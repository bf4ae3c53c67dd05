// Command memory measures what the agent keeps in memory over the run that the budgets of the design name: 20,000 Warning events are in
// a real control plane when the agent starts; 50,000 more come while both of its receivers, a webhook that archives each event and
// Feishu, refuse connections; then they are back and everything is delivered. Memory is sampled ten times a second from /proc and from
// the memory cgroup that the agent runs in.
//
// The run is repeated inside cgroups with a limit. The agent's binary is a fresh copy that is not in the page cache, so its pages are
// charged to the agent's cgroup as they are in a container; swap is off inside it.
//
// It prints a Markdown table with a row for each run and one of the resident memory by mapping, and draws a plot as SVG. It exits with 1
// if something was lost without being told or a run did not end; that the kernel kills the agent in a small cgroup is a result.
package main
