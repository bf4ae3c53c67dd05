// Package telegram writes to a chat of Telegram as a bot, and believes the answer's own ok.
package telegram
