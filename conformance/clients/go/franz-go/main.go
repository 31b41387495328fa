// franz-go against a broker.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millstream/conformance/cases"
)

func main() {
	cases.Main(func(bootstrap string) (cases.Client, error) {
		plain, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
		if err != nil {
			return nil, err
		}
		return &client{bootstrap: bootstrap, Client: kadm.NewClient(plain), producers: map[string]*kgo.Client{}}, nil
	})
}

type client struct {
	bootstrap string
	*kadm.Client
	producers map[string]*kgo.Client
}

func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 20*time.Second)
}

func (c *client) CreateTopic(topic string, partitions int32, configs map[string]string) error {
	ctx, cancel := within()
	defer cancel()
	values := map[string]*string{}
	for key, value := range configs {
		values[key] = &value
	}
	_, err := c.Client.CreateTopic(ctx, partitions, 1, values, topic)
	return err
}

func (c *client) PartitionCount(topic string) (int, error) {
	ctx, cancel := within()
	defer cancel()
	found, err := c.ListTopics(ctx, topic)
	if err != nil {
		return 0, err
	}
	if errors.Is(found[topic].Err, kerr.UnknownTopicOrPartition) {
		return -1, nil
	}
	count := 0
	for _, partition := range found[topic].Partitions {
		if partition.Err == nil && partition.Leader >= 0 {
			count++
		}
	}
	return count, nil
}

func (c *client) TopicConfig(topic string) (map[string]string, error) {
	ctx, cancel := within()
	defer cancel()
	found, err := c.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, err
	}
	configs := map[string]string{}
	for _, config := range found[0].Configs {
		configs[config.Key] = config.MaybeValue()
	}
	return configs, found[0].Err
}

func (c *client) AlterConfig(topic, key, value string) error {
	ctx, cancel := within()
	defer cancel()
	found, err := c.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, topic)
	if err != nil {
		return err
	}
	return found[0].Err
}

func (c *client) AddPartitions(topic string, total int) error {
	ctx, cancel := within()
	defer cancel()
	found, err := c.UpdatePartitions(ctx, total, topic)
	if err != nil {
		return err
	}
	return found.Error()
}

func (c *client) DeleteTopic(topic string) error {
	ctx, cancel := within()
	defer cancel()
	found, err := c.DeleteTopics(ctx, topic)
	if err != nil {
		return err
	}
	return found.Error()
}

func (c *client) Topics() ([]string, error) {
	ctx, cancel := within()
	defer cancel()
	found, err := c.ListTopics(ctx)
	return found.Names(), err
}

func (c *client) producer(codec, acks string, byHand bool) (*kgo.Client, error) {
	name := fmt.Sprint(codec, acks, byHand)
	if known := c.producers[name]; known != nil {
		return known, nil
	}
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	levels := map[string]kgo.Acks{"all": kgo.AllISRAcks(), "1": kgo.LeaderAck(), "0": kgo.NoAck()}
	options := []kgo.Opt{
		kgo.SeedBrokers(c.bootstrap), kgo.ProducerBatchCompression(codecs[codec]), kgo.RequiredAcks(levels[acks]),
		kgo.ProducerLinger(5 * time.Millisecond), kgo.UnknownTopicRetries(2),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}
	if acks != "all" {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	if byHand {
		options = append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	made, err := kgo.NewClient(options...)
	c.producers[name] = made
	return made, err
}

func (c *client) Produce(topic, codec, acks string, records []cases.Record) ([]cases.Record, error) {
	// Without a partition of their own, records go where the library's default partitioner puts their keys.
	producer, err := c.producer(codec, acks, records[0].Partition >= 0)
	if err != nil {
		return nil, err
	}
	var all []*kgo.Record
	for _, r := range records {
		record := &kgo.Record{Topic: topic, Key: r.Key, Value: r.Value, Partition: r.Partition}
		if r.Timestamp != 0 {
			record.Timestamp = time.UnixMilli(r.Timestamp)
		}
		for _, header := range r.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader(header))
		}
		all = append(all, record)
	}
	ctx, cancel := within()
	defer cancel()
	// Results come in the order of completion; the records themselves are filled in.
	if err := producer.ProduceSync(ctx, all...).FirstErr(); err != nil {
		return nil, err
	}
	return converted(all), nil
}

func converted(records []*kgo.Record) []cases.Record {
	var all []cases.Record
	for _, r := range records {
		record := cases.Record{
			Key: r.Key, Value: r.Value, Timestamp: r.Timestamp.UnixMilli(), Partition: r.Partition, Offset: r.Offset,
		}
		for _, header := range r.Headers {
			record.Headers = append(record.Headers, cases.Header(header))
		}
		all = append(all, record)
	}
	return all
}

func (c *client) Read(topic string, partition int32, start int64, count int, afterSeek func() error) ([]cases.Record, error) {
	offset := kgo.NewOffset().At(start)
	if start == cases.Latest {
		ctx, cancel := within()
		defer cancel()
		// The library looks the end up when it first fetches; asked for here, it is known before writing.
		ends, err := c.ListEndOffsets(ctx, topic)
		if err != nil {
			return nil, err
		}
		end, _ := ends.Lookup(topic, partition)
		offset = kgo.NewOffset().At(end.Offset)
	}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(c.bootstrap), kgo.ConsumePartitions(
		map[string]map[int32]kgo.Offset{topic: {partition: offset}}))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	if afterSeek != nil {
		if err := afterSeek(); err != nil {
			return nil, err
		}
	}
	var found []cases.Record
	ctx, cancel := within()
	defer cancel()
	for len(found) < count {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		found = append(found, converted(fetches.Records())...)
	}
	return found, nil
}

func (c *client) OffsetForTime(topic string, partition int32, timestamp int64) (int64, error) {
	ctx, cancel := within()
	defer cancel()
	found, err := c.ListOffsetsAfterMilli(ctx, timestamp, topic)
	if err != nil {
		return 0, err
	}
	offset, _ := found.Lookup(topic, partition)
	if offset.Timestamp == -1 {
		// The admin client then answers with the end instead of "none".
		return -1, offset.Err
	}
	return offset.Offset, offset.Err
}

type member struct {
	client *kgo.Client
	topic  string
	lock   sync.Mutex
	mine   map[int32]bool
}

func (c *client) Member(group, topic string, autoCommit bool) (cases.Member, error) {
	m := &member{topic: topic, mine: map[int32]bool{}}
	options := []kgo.Opt{
		kgo.SeedBrokers(c.bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(200 * time.Millisecond),
		kgo.SessionTimeout(6 * time.Second), kgo.AutoCommitInterval(200 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, given map[string][]int32) { m.change(given[topic], true) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, taken map[string][]int32) { m.change(taken[topic], false) }),
	}
	if !autoCommit {
		options = append(options, kgo.DisableAutoCommit())
	}
	var err error
	m.client, err = kgo.NewClient(options...)
	return m, err
}

func (m *member) change(partitions []int32, mine bool) {
	m.lock.Lock()
	defer m.lock.Unlock()
	for _, partition := range partitions {
		if mine {
			m.mine[partition] = true
		} else {
			delete(m.mine, partition)
		}
	}
}

func (m *member) Poll() ([]cases.Record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	fetches := m.client.PollFetches(ctx)
	if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	return converted(fetches.Records()), nil
}

func (m *member) Partitions() []int32 {
	m.lock.Lock()
	defer m.lock.Unlock()
	var all []int32
	for partition := range m.mine {
		all = append(all, partition)
	}
	return all
}

func (m *member) Commit(partition int32, offset int64) error {
	ctx, cancel := within()
	defer cancel()
	offsets := map[string]map[int32]kgo.EpochOffset{m.topic: {partition: {Epoch: -1, Offset: offset}}}
	var told error
	m.client.CommitOffsetsSync(ctx, offsets, func(
		_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error,
	) {
		told = err
		if err == nil {
			told = kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
		}
	})
	return told
}

func (m *member) Close() error {
	m.client.CloseAllowingRebalance()
	return nil
}

func (c *client) Committed(group, topic string, partition int32) (int64, error) {
	ctx, cancel := within()
	defer cancel()
	found, err := c.FetchOffsets(ctx, group)
	if err != nil {
		return 0, err
	}
	offset, _ := found.Lookup(topic, partition)
	return offset.At, offset.Err
}

func (c *client) ErrorName(err error) string {
	var told *kerr.Error
	if errors.As(err, &told) {
		return told.Message
	}
	return err.Error()
}

func (c *client) Close() {
	for _, producer := range c.producers {
		producer.Close()
	}
	c.Client.Close()
}
