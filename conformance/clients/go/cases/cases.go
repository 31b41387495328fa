// Package cases holds the cases that every client goes through, for clients that are Go libraries. Each
// client's program brings a Client and calls Main: NAME BOOTSTRAP KEYS_TSV [CASE...]. One JSON line is
// printed for each case.
package cases

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const wait = 30 * time.Second

// acks=0 comes last: Kafka drops what reaches a new partition too early, and only here nobody would be told.
var acksValues = []string{"all", "1", "0"}

// Header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Record as written (Partition -1: by its key) and as read.
type Record struct {
	Key, Value []byte
	Headers    []Header
	Timestamp  int64
	Partition  int32
	Offset     int64
}

// Where reading starts, when not at an offset.
const (
	Earliest int64 = -2
	Latest   int64 = -1
)

// NotApplicable is the error for what a client cannot do; its text says why.
type NotApplicable string

func (n NotApplicable) Error() string { return string(n) }

// Member of a consumer group.
type Member interface {
	// Poll waits for records for a short time.
	Poll() ([]Record, error)
	// Partitions that are assigned now.
	Partitions() []int32
	Commit(partition int32, offset int64) error
	Close() error
}

// Client is what the cases ask of a library.
type Client interface {
	CreateTopic(topic string, partitions int32, configs map[string]string) error
	// PartitionCount counts the partitions with a leader; -1 when the topic is unknown.
	PartitionCount(topic string) (int, error)
	TopicConfig(topic string) (map[string]string, error)
	AlterConfig(topic, key, value string) error
	AddPartitions(topic string, total int) error
	DeleteTopic(topic string) error
	Topics() ([]string, error)
	// Produce answers with the partition and offset of each record.
	Produce(topic, codec, acks string, records []Record) ([]Record, error)
	// Read takes count records from start on; afterSeek is called once the position is known.
	Read(topic string, partition int32, start int64, count int, afterSeek func() error) ([]Record, error)
	// OffsetForTime answers -1 when no record is that young.
	OffsetForTime(topic string, partition int32, timestamp int64) (int64, error)
	Member(group, topic string, autoCommit bool) (Member, error)
	Committed(group, topic string, partition int32) (int64, error)
	// ErrorName is Kafka's name of an error.
	ErrorName(err error) string
	Close()
}

// Main runs the cases and prints their results.
func Main(open func(bootstrap string) (Client, error)) {
	client, err := open(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s := &suite{Client: client, name: os.Args[1], keysFile: os.Args[3]}
	for _, c := range s.cases() {
		if only := os.Args[4:]; len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		started := time.Now()
		status, detail := "ok", ""
		var reason NotApplicable
		if err := c.run(); errors.As(err, &reason) {
			status, detail = "n/a", string(reason)
		} else if err != nil {
			status, detail = "fail", err.Error()
		}
		line, _ := json.Marshal(map[string]any{
			"case": c.name, "status": status, "detail": detail, "milliseconds": time.Since(started).Milliseconds(),
		})
		fmt.Println(string(line))
	}
	client.Close()
}

type suite struct {
	Client
	name, keysFile string
}

type testCase struct {
	name string
	run  func() error
}

func (s *suite) cases() []testCase {
	all := []testCase{
		{"admin_create_and_describe", s.createAndDescribe},
		{"admin_alter_config", s.alterConfig},
		{"admin_add_partitions", s.addPartitions},
		{"admin_delete_topic", s.deleteTopic},
		{"keys_to_java_partitions", s.keysToJavaPartitions},
		{"headers", s.headers},
		{"duplicate_header_keys", s.duplicateHeaderKeys},
		{"tombstones", s.tombstones},
		{"empty_and_null_keys", s.emptyAndNullKeys},
		{"consume_from_earliest", s.consumeFromEarliest},
		{"consume_from_latest", s.consumeFromLatest},
		{"consume_from_timestamp", s.consumeFromTimestamp},
		{"group_of_three_grows_and_shrinks", s.groupOfThree},
		{"commit_and_resume", s.commitAndResume},
		{"error_unknown_topic", s.unknownTopic},
		{"error_invalid_topic_name", s.invalidTopicName},
		{"error_record_too_large", s.recordTooLarge},
	}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		for _, acks := range acksValues {
			run := func() error { return s.produceAndRead(codec, acks) }
			all = append(all, testCase{"produce_" + codec + "_acks_" + acks, run})
		}
	}
	return all
}

func (s *suite) topic(suffix string, partitions int32, configs map[string]string) (string, error) {
	topic := s.name + "-" + suffix
	if err := s.CreateTopic(topic, partitions, configs); err != nil {
		return "", err
	}
	return topic, eventually(topic+" to have leaders", func() (bool, error) {
		count, err := s.PartitionCount(topic)
		return count == int(partitions), err
	})
}

func (s *suite) createAndDescribe() error {
	topic, err := s.topic("created", 3, map[string]string{"retention.ms": "7200000"})
	if err != nil {
		return err
	}
	configs, err := s.TopicConfig(topic)
	if err != nil {
		return err
	}
	return equal(configs["retention.ms"], "7200000", "retention.ms")
}

func (s *suite) alterConfig() error {
	topic, err := s.topic("altered", 1, map[string]string{"retention.ms": "7200000"})
	if err != nil {
		return err
	}
	if err := s.AlterConfig(topic, "max.message.bytes", "65536"); err != nil {
		return err
	}
	return eventually("the new value", func() (bool, error) {
		configs, err := s.TopicConfig(topic)
		return configs["max.message.bytes"] == "65536", err
	})
}

func (s *suite) addPartitions() error {
	topic, err := s.topic("grown", 2, nil)
	if err != nil {
		return err
	}
	if err := s.AddPartitions(topic, 5); err != nil {
		return err
	}
	return eventually("5 partitions", func() (bool, error) {
		count, err := s.PartitionCount(topic)
		return count == 5, err
	})
}

func (s *suite) deleteTopic() error {
	topic, err := s.topic("deleted", 1, nil)
	if err != nil {
		return err
	}
	if err := s.DeleteTopic(topic); err != nil {
		return err
	}
	return eventually("the topic to be gone", func() (bool, error) {
		topics, err := s.Topics()
		return !slices.Contains(topics, topic), err
	})
}

func (s *suite) produceAndRead(codec, acks string) error {
	topic := s.name + "-codec-" + codec
	topics, err := s.Topics()
	if err == nil && !slices.Contains(topics, topic) {
		_, err = s.topic("codec-"+codec, 3, nil)
	}
	if err != nil {
		return err
	}
	partition := int32(slices.Index(acksValues, acks))
	records := make([]Record, 50)
	for i := range records {
		value := strings.Repeat(fmt.Sprintf("%s %s %d ", codec, acks, i), 20)
		records[i] = Record{Value: []byte(value), Partition: partition}
	}
	sent, err := s.Produce(topic, codec, acks, records)
	if err != nil {
		return err
	}
	found, err := s.Read(topic, partition, Earliest, 50, nil)
	if err != nil {
		return err
	}
	for i, record := range found {
		if acks != "0" && (sent[i].Offset != int64(i) || sent[i].Partition != partition) {
			return fmt.Errorf("record %d was acked at %d of partition %d", i, sent[i].Offset, sent[i].Partition)
		}
		if string(record.Value) != string(records[i].Value) || record.Offset != int64(i) {
			return fmt.Errorf("at offset %d, expected %d, found %q", record.Offset, i, record.Value)
		}
	}
	return nil
}

func (s *suite) keysToJavaPartitions() error {
	topic, err := s.topic("keys", 12, nil)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(s.keysFile)
	if err != nil {
		return err
	}
	var records []Record
	var expected []int32
	for line := range strings.Lines(string(text)) {
		key, partition, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		number, err := strconv.Atoi(partition)
		if err != nil {
			return err
		}
		records = append(records, Record{Key: []byte(key), Value: []byte("v"), Partition: -1})
		expected = append(expected, int32(number))
	}
	sent, err := s.Produce(topic, "none", "all", records)
	if err != nil {
		return err
	}
	for i, record := range sent {
		if record.Partition != expected[i] {
			return fmt.Errorf("key %q: Java's partition is %d, ours %d", records[i].Key, expected[i], record.Partition)
		}
	}
	return equal(len(sent), 168, "keys")
}

// roundTrip writes records to a new topic of one partition and reads them back.
func (s *suite) roundTrip(suffix string, configs map[string]string, records ...Record) ([]Record, error) {
	topic, err := s.topic(suffix, 1, configs)
	if err != nil {
		return nil, err
	}
	if _, err := s.Produce(topic, "none", "all", records); err != nil {
		return nil, err
	}
	return s.Read(topic, 0, Earliest, len(records), nil)
}

func (s *suite) headers() error {
	headers := []Header{{"trace", []byte{0, 255, 16}}, {"empty", []byte{}}, {"größe", []byte("größe")}}
	found, err := s.roundTrip("headers", nil, Record{Key: []byte("k"), Value: []byte("v"), Headers: headers})
	if err != nil {
		return err
	}
	return equal(fmt.Sprint(found[0].Headers), fmt.Sprint(headers), "headers")
}

func (s *suite) duplicateHeaderKeys() error {
	headers := []Header{{"a", []byte("1")}, {"b", []byte("2")}, {"a", []byte("3")}, {"a", []byte("1")}}
	found, err := s.roundTrip("duplicate-headers", nil, Record{Value: []byte("v"), Headers: headers})
	if err != nil {
		return err
	}
	return equal(found[0].Headers, headers, "headers")
}

func (s *suite) tombstones() error {
	key := []byte("k")
	found, err := s.roundTrip("tombstones", map[string]string{"cleanup.policy": "compact"},
		Record{Key: key, Value: []byte("alive")}, Record{Key: key}, Record{Key: key, Value: []byte{}})
	if err != nil {
		return err
	}
	shape := []bool{found[0].Value == nil, found[1].Value == nil, found[2].Value == nil}
	return equal(shape, []bool{false, true, false}, "which values are null")
}

func (s *suite) emptyAndNullKeys() error {
	found, err := s.roundTrip("keys-empty-null", nil, Record{Key: []byte{}, Value: []byte("1")}, Record{Value: []byte("2")})
	if err != nil {
		return err
	}
	return equal([]bool{found[0].Key == nil, found[1].Key == nil}, []bool{false, true}, "which keys are null")
}

func (s *suite) consumeFromEarliest() error {
	found, err := s.roundTrip("earliest", nil, numbered("", 10)...)
	if err != nil {
		return err
	}
	return equal(values(found), values(numbered("", 10)), "values")
}

func (s *suite) consumeFromLatest() error {
	topic, err := s.topic("latest", 1, nil)
	if err != nil {
		return err
	}
	if _, err := s.Produce(topic, "none", "all", numbered("old", 5)); err != nil {
		return err
	}
	found, err := s.Read(topic, 0, Latest, 3, func() error {
		_, err := s.Produce(topic, "none", "all", numbered("new", 3))
		return err
	})
	if err != nil {
		return err
	}
	if err := equal(found[0].Offset, int64(5), "offset"); err != nil {
		return err
	}
	return equal(values(found), values(numbered("new", 3)), "values")
}

func (s *suite) consumeFromTimestamp() error {
	topic, err := s.topic("timestamps", 1, nil)
	if err != nil {
		return err
	}
	base := time.Now().UnixMilli() - 100_000
	records := numbered("", 10)
	for i := range records {
		records[i].Timestamp = base + int64(i)*1000
	}
	if _, err := s.Produce(topic, "none", "all", records); err != nil {
		return err
	}
	for timestamp, expected := range map[int64]int64{base + 3500: 4, base + 3000: 3, base + 100_000_000: -1} {
		offset, err := s.OffsetForTime(topic, 0, timestamp)
		if err != nil {
			return err
		}
		if err := equal(offset, expected, "offset for a timestamp"); err != nil {
			return err
		}
	}
	found, err := s.Read(topic, 0, 4, 6, nil)
	if err != nil {
		return err
	}
	if err := equal(found[0].Timestamp, base+4000, "timestamp"); err != nil {
		return err
	}
	return equal(values(found), values(records[4:]), "values")
}

func (s *suite) commitAndResume() error {
	topic, err := s.topic("resume", 1, nil)
	if err != nil {
		return err
	}
	group := s.name + "-resume"
	if _, err := s.Produce(topic, "none", "all", numbered("", 10)); err != nil {
		return err
	}
	if _, err := s.takeAndCommit(group, topic, 4, 4); err != nil {
		return err
	}
	committed, err := s.Committed(group, topic, 0)
	if err != nil {
		return err
	}
	if err := equal(committed, int64(4), "committed offset"); err != nil {
		return err
	}
	found, err := s.takeAndCommit(group, topic, 6, 10)
	if err != nil {
		return err
	}
	return equal(values(found), values(numbered("", 10)[4:]), "records after the commit")
}

func (s *suite) takeAndCommit(group, topic string, count int, commit int64) ([]Record, error) {
	member, err := s.Member(group, topic, false)
	if err != nil {
		return nil, err
	}
	var found []Record
	err = eventually(fmt.Sprintf("%d records", count), func() (bool, error) {
		records, err := member.Poll()
		found = append(found, records...)
		return len(found) >= count, err
	})
	if err == nil {
		err = member.Commit(0, commit)
	}
	return found, errors.Join(err, member.Close())
}

func (s *suite) fails(name string, err error) error {
	if err == nil {
		return fmt.Errorf("%s was expected, but it went well", name)
	}
	return equal(s.ErrorName(err), name, "error ("+err.Error()+")")
}

func (s *suite) unknownTopic() error {
	_, err := s.Produce("no-such-topic", "none", "all", numbered("", 1))
	return s.fails("UNKNOWN_TOPIC_OR_PARTITION", err)
}

func (s *suite) invalidTopicName() error {
	return s.fails("INVALID_TOPIC_EXCEPTION", s.CreateTopic("not a topic!", 1, nil))
}

func (s *suite) recordTooLarge() error {
	topic, err := s.topic("small", 1, map[string]string{"max.message.bytes": "10000"})
	if err != nil {
		return err
	}
	_, err = s.Produce(topic, "none", "all", []Record{{Value: make([]byte, 50_000)}})
	if err := s.fails("MESSAGE_TOO_LARGE", err); err != nil {
		return err
	}
	sent, err := s.Produce(topic, "none", "all", numbered("small", 1))
	if err != nil {
		return err
	}
	return equal(sent[0].Offset, int64(0), "offset of what comes after")
}

func numbered(prefix string, count int) []Record {
	records := make([]Record, count)
	for i := range records {
		records[i] = Record{Value: []byte(prefix + strconv.Itoa(i))}
	}
	return records
}

func values(records []Record) []string {
	all := make([]string, len(records))
	for i, record := range records {
		all[i] = string(record.Value)
	}
	return all
}

func equal(found, expected any, what string) error {
	if reflect.DeepEqual(found, expected) {
		return nil
	}
	return fmt.Errorf("%s: expected %v, found %v", what, expected, found)
}

func eventually(what string, holds func() (bool, error)) error {
	deadline := time.Now().Add(wait)
	for {
		if held, err := holds(); held || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v for %s", wait, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// memberLoop polls a member in a goroutine of its own, as members do in life.
type memberLoop struct {
	lock       sync.Mutex
	values     map[string]bool
	partitions []int32
	failure    error
	stopping   bool
	ended      chan struct{}
}

func (s *suite) startMember(group, topic string) *memberLoop {
	loop := &memberLoop{values: map[string]bool{}, ended: make(chan struct{})}
	go func() {
		defer close(loop.ended)
		member, err := s.Member(group, topic, true)
		for err == nil && !loop.look().stopping {
			var records []Record
			records, err = member.Poll()
			loop.lock.Lock()
			for _, record := range records {
				loop.values[string(record.Value)] = true
			}
			loop.partitions = member.Partitions()
			loop.lock.Unlock()
		}
		if err == nil {
			err = member.Close()
		}
		loop.lock.Lock()
		loop.failure = err
		loop.lock.Unlock()
	}()
	return loop
}

type look struct {
	stopping   bool
	partitions []int32
	failure    error
}

func (m *memberLoop) look() look {
	m.lock.Lock()
	defer m.lock.Unlock()
	return look{m.stopping, m.partitions, m.failure}
}

func (m *memberLoop) has(value string) bool {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.values[value]
}

func (m *memberLoop) stop() error {
	m.lock.Lock()
	m.stopping = true
	m.lock.Unlock()
	<-m.ended
	return m.look().failure
}

// shares waits until the running members have these numbers of the six partitions between them.
func shares(members *[]*memberLoop, sizes ...int) error {
	return eventually(fmt.Sprintf("shares of %v", sizes), func() (bool, error) {
		var found []int
		all := map[int32]bool{}
		for _, member := range *members {
			seen := member.look()
			if seen.failure != nil {
				return false, seen.failure
			}
			if !seen.stopping {
				found = append(found, len(seen.partitions))
				for _, partition := range seen.partitions {
					all[partition] = true
				}
			}
		}
		slices.Sort(found)
		return slices.Equal(found, sizes) && len(all) == 6, nil
	})
}

func (s *suite) groupOfThree() error {
	topic, err := s.topic("group", 6, nil)
	if err != nil {
		return err
	}
	var members []*memberLoop
	join := func() error { members = append(members, s.startMember(s.name+"-group", topic)); return nil }
	leave := func(index int) func() error { return func() error { return members[index].stop() } }
	settled := func(sizes ...int) func() error { return func() error { return shares(&members, sizes...) } }
	write := func(prefix string) func() error {
		return func() error { return s.writeAndAwait(topic, prefix, &members) }
	}
	steps := []func() error{
		join, settled(6), write("one"), join, join, settled(2, 2, 2), write("three"),
		leave(2), settled(3, 3), leave(1), settled(6), write("last"), leave(0),
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) writeAndAwait(topic, prefix string, members *[]*memberLoop) error {
	records := numbered(prefix, 60)
	for i := range records {
		records[i].Partition = int32(i % 6)
	}
	if _, err := s.Produce(topic, "none", "all", records); err != nil {
		return err
	}
	return eventually("all of "+prefix, func() (bool, error) {
		for _, value := range values(records) {
			if !slices.ContainsFunc(*members, func(m *memberLoop) bool { return m.has(value) }) {
				return false, nil
			}
		}
		return true, nil
	})
}
