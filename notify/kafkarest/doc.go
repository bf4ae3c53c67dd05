// Package kafkarest produces records through the Strimzi Kafka Bridge or the Confluent REST Proxy, and believes the offset of each record. One
// request goes to one topic; a topic that is missing or forbidden holds no other.
package kafkarest
