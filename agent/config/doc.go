// Package config reads the configuration file.
//
// It promises:
//
//   - The file is read strictly: an unknown key, a duplicate key, a value of the wrong type or outside its range is a mistake,
//     and so is a setting that the receiver's type does not use.
//   - All mistakes are reported at once, each in one line with the number of its line, the path of its key and what is allowed.
//   - A file without mistakes makes a Config that every other package takes as it is; what a file leaves out has the
//     documented default. manifests/config.yaml is that documentation, and a test holds it against the code.
//   - No value of url, secret, token, proxy or a header is ever part of an error. The one exception is what stands between {{ and }} in a
//     webhook's url or header: that is a template, and its mistakes are quoted.
//   - Reading is bounded: 128 KiB of text, no aliases, trees of at most 32 levels, 32 receivers, 200 rules in a list.
package config
