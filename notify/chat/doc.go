// Package chat holds what the receivers of chat platforms share: the parts of a message as clean and bounded plain text, the words around them in
// English and Chinese, and how many incidents fit into the platform's size. It escapes nothing for a platform: who renders does.
package chat
