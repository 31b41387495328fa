// Sarama against a broker.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"millstream/conformance/cases"
)

func main() {
	cases.Main(func(bootstrap string) (cases.Client, error) {
		plain, err := sarama.NewClient([]string{bootstrap}, config())
		if err != nil {
			return nil, err
		}
		admin, err := sarama.NewClusterAdminFromClient(plain)
		return &client{[]string{bootstrap}, plain, admin, map[string]sarama.SyncProducer{}}, err
	})
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Metadata.Retry.Max = 3
	c.Metadata.Retry.Backoff = 100 * time.Millisecond
	c.Metadata.AllowAutoTopicCreation = false
	c.Producer.Return.Successes = true
	c.Producer.MaxMessageBytes = 5_000_000
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	return c
}

type client struct {
	bootstrap []string
	plain     sarama.Client
	admin     sarama.ClusterAdmin
	producers map[string]sarama.SyncProducer
}

func (c *client) CreateTopic(topic string, partitions int32, configs map[string]string) error {
	entries := map[string]*string{}
	for key, value := range configs {
		entries[key] = &value
	}
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: entries}
	return c.admin.CreateTopic(topic, detail, false)
}

func (c *client) PartitionCount(topic string) (int, error) {
	found, err := c.admin.DescribeTopics([]string{topic})
	if err != nil {
		return 0, err
	}
	if found[0].Err == sarama.ErrUnknownTopicOrPartition {
		return -1, nil
	}
	count := 0
	for _, partition := range found[0].Partitions {
		if partition.Err == sarama.ErrNoError && partition.Leader >= 0 {
			count++
		}
	}
	return count, nil
}

func (c *client) TopicConfig(topic string) (map[string]string, error) {
	found, err := c.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	configs := map[string]string{}
	for _, entry := range found {
		configs[entry.Name] = entry.Value
	}
	return configs, err
}

func (c *client) AlterConfig(topic, key, value string) error {
	set := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
	entries := map[string]sarama.IncrementalAlterConfigsEntry{key: set}
	return c.admin.IncrementalAlterConfig(sarama.TopicResource, topic, entries, false)
}

func (c *client) AddPartitions(topic string, total int) error {
	return c.admin.CreatePartitions(topic, int32(total), nil, false)
}

func (c *client) DeleteTopic(topic string) error { return c.admin.DeleteTopic(topic) }

func (c *client) Topics() ([]string, error) {
	found, err := c.admin.ListTopics()
	var names []string
	for name := range found {
		names = append(names, name)
	}
	return names, err
}

func (c *client) producer(codec, acks string, byHand bool) (sarama.SyncProducer, error) {
	name := fmt.Sprint(codec, acks, byHand)
	if known := c.producers[name]; known != nil {
		return known, nil
	}
	settings := config()
	settings.Producer.Compression = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}[codec]
	settings.Producer.RequiredAcks = map[string]sarama.RequiredAcks{
		"all": sarama.WaitForAll, "1": sarama.WaitForLocal, "0": sarama.NoResponse,
	}[acks]
	if acks == "all" {
		settings.Producer.Idempotent = true
		settings.Net.MaxOpenRequests = 1
	}
	// Java's partitioner; the library's own default hashes with FNV-1a.
	settings.Producer.Partitioner = sarama.NewMurmur2Partitioner
	if byHand {
		settings.Producer.Partitioner = sarama.NewManualPartitioner
	}
	made, err := sarama.NewSyncProducer(c.bootstrap, settings)
	c.producers[name] = made
	return made, err
}

func (c *client) Produce(topic, codec, acks string, records []cases.Record) ([]cases.Record, error) {
	producer, err := c.producer(codec, acks, records[0].Partition >= 0)
	if err != nil {
		return nil, err
	}
	var messages []*sarama.ProducerMessage
	for _, r := range records {
		message := &sarama.ProducerMessage{Topic: topic, Partition: r.Partition}
		if r.Key != nil {
			message.Key = sarama.ByteEncoder(r.Key)
		}
		if r.Value != nil {
			message.Value = sarama.ByteEncoder(r.Value)
		}
		if r.Timestamp != 0 {
			message.Timestamp = time.UnixMilli(r.Timestamp)
		}
		for _, header := range r.Headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.Key), Value: header.Value})
		}
		messages = append(messages, message)
	}
	if err := producer.SendMessages(messages); err != nil {
		var each sarama.ProducerErrors
		if errors.As(err, &each) {
			return nil, each[0].Err
		}
		return nil, err
	}
	var sent []cases.Record
	for _, message := range messages {
		sent = append(sent, cases.Record{Partition: message.Partition, Offset: message.Offset})
	}
	return sent, nil
}

func converted(m *sarama.ConsumerMessage) cases.Record {
	record := cases.Record{
		Key: m.Key, Value: m.Value, Timestamp: m.Timestamp.UnixMilli(), Partition: m.Partition, Offset: m.Offset,
	}
	for _, header := range m.Headers {
		record.Headers = append(record.Headers, cases.Header{Key: string(header.Key), Value: header.Value})
	}
	return record
}

func (c *client) Read(topic string, partition int32, start int64, count int, afterSeek func() error) ([]cases.Record, error) {
	consumer, err := sarama.NewConsumerFromClient(c.plain)
	if err != nil {
		return nil, err
	}
	// The library's words for the ends are Kafka's numbers, as ours are.
	stream, err := consumer.ConsumePartition(topic, partition, start)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	if afterSeek != nil {
		if err := afterSeek(); err != nil {
			return nil, err
		}
	}
	var found []cases.Record
	for len(found) < count {
		select {
		case message := <-stream.Messages():
			found = append(found, converted(message))
		case <-time.After(20 * time.Second):
			return nil, fmt.Errorf("only %d of %d records came", len(found), count)
		}
	}
	return found, nil
}

func (c *client) OffsetForTime(topic string, partition int32, timestamp int64) (int64, error) {
	return c.plain.GetOffset(topic, partition, timestamp)
}

// member turns the library's callbacks into polls.
type member struct {
	group      sarama.ConsumerGroup
	topic      string
	cancel     context.CancelFunc
	ended      chan struct{}
	inbox      chan *sarama.ConsumerMessage
	lock       sync.Mutex
	session    sarama.ConsumerGroupSession
	partitions []int32
	failure    error
}

func (c *client) Member(group, topic string, autoCommit bool) (cases.Member, error) {
	settings := config()
	settings.Consumer.Offsets.AutoCommit.Enable = autoCommit
	joined, err := sarama.NewConsumerGroup(c.bootstrap, group, settings)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{group: joined, topic: topic, cancel: cancel, ended: make(chan struct{}), inbox: make(chan *sarama.ConsumerMessage)}
	go func() {
		defer close(m.ended)
		for ctx.Err() == nil {
			if err := joined.Consume(ctx, []string{topic}, m); err != nil {
				m.lock.Lock()
				m.failure = err
				m.lock.Unlock()
				return
			}
		}
	}()
	return m, nil
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.session, m.partitions = session, session.Claims()[m.topic]
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.partitions = nil
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			select {
			case m.inbox <- message:
				session.MarkMessage(message, "")
			case <-session.Context().Done():
				return nil
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *member) Poll() ([]cases.Record, error) {
	m.lock.Lock()
	failure := m.failure
	m.lock.Unlock()
	var found []cases.Record
	for {
		select {
		case message := <-m.inbox:
			found = append(found, converted(message))
		case <-time.After(50 * time.Millisecond):
			return found, failure
		}
	}
}

func (m *member) Partitions() []int32 {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.partitions
}

func (m *member) Commit(partition int32, offset int64) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	// What was read was marked; a mark may only go back by a reset.
	m.session.ResetOffset(m.topic, partition, offset, "half way")
	m.session.MarkOffset(m.topic, partition, offset, "half way")
	m.session.Commit()
	return nil
}

func (m *member) Close() error {
	m.cancel()
	<-m.ended
	return m.group.Close()
}

func (c *client) Committed(group, topic string, partition int32) (int64, error) {
	found, err := c.admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {partition}})
	if err != nil {
		return 0, err
	}
	return found.GetBlock(topic, partition).Offset, nil
}

func (c *client) ErrorName(err error) string {
	var topicError *sarama.TopicError
	if errors.As(err, &topicError) {
		err = topicError.Err
	}
	switch {
	case errors.Is(err, sarama.ErrUnknownTopicOrPartition):
		return "UNKNOWN_TOPIC_OR_PARTITION"
	case errors.Is(err, sarama.ErrInvalidTopic):
		return "INVALID_TOPIC_EXCEPTION"
	case errors.Is(err, sarama.ErrMessageSizeTooLarge):
		return "MESSAGE_TOO_LARGE"
	}
	return err.Error()
}

func (c *client) Close() {
	for _, producer := range c.producers {
		producer.Close()
	}
	c.admin.Close()
}
