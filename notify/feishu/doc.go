// Package feishu posts cards to the custom bot of a Feishu or Lark group, and believes the code in the answer.
//
// A signature carries the time of its attempt, corrected by what the platform's answers say of the time. The text of an event neither
// notifies anybody nor breaks the card.
package feishu
