// KafkaJS against a broker: NAME BOOTSTRAP KEYS_TSV [CASE...]. One JSON line is printed for each case.
// The modules are found through NODE_PATH.
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { Kafka, CompressionCodecs, CompressionTypes, ConfigResourceTypes, logLevel } = require('kafkajs')

const WAIT_MS = 30_000
// acks=0 comes last: what reaches a new partition too early is dropped, and only here nobody would be told.
const ACKS = ['all', '1', '0']
const ACKS_NUMBERS = { all: -1, 1: 1, 0: 0 }
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

const [name, bootstrap, keysFile, ...only] = process.argv.slice(2)
const kafka = new Kafka({
  clientId: name, brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 3 },
})
const admin = kafka.admin()
const producers = {}
let groups = 0

// The library brings gzip; the other codecs are plugged in, as its manual says.
async function plugCodecs() {
  const lz4 = require('lz4-napi')
  const zstd = require('@bokuweb/zstd-wasm')
  await zstd.init()
  CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: async encoder => lz4.compressFrame(encoder.buffer),
    decompress: async buffer => lz4.decompressFrame(buffer),
  })
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
    decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
  })
}

async function eventually(what, check) {
  const deadline = Date.now() + WAIT_MS
  while (!(await check())) {
    assert(Date.now() < deadline, `waited in vain for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

async function makeTopic(suffix, numPartitions = 1, configs = {}) {
  const topic = `${name}-${suffix}`
  const configEntries = Object.entries(configs).map(([key, value]) => ({ name: key, value }))
  await admin.createTopics({ topics: [{ topic, numPartitions, configEntries }] })
  await eventually(`${topic} to have leaders`, async () => (await partitionCount(topic)) === numPartitions)
  return topic
}

async function partitionCount(topic) {
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
  return topics[0].partitions.filter(p => p.leader >= 0).length
}

async function topicConfig(topic, key) {
  const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic }]
  const found = await admin.describeConfigs({ resources, includeSynonyms: false })
  return found.resources[0].configEntries.find(entry => entry.configName === key).configValue
}

async function producer(acks) {
  const idempotent = acks === 'all'
  if (!producers[idempotent]) {
    producers[idempotent] = kafka.producer({ idempotent, maxInFlightRequests: 1, allowAutoTopicCreation: false })
    await producers[idempotent].connect()
  }
  return producers[idempotent]
}

async function send(topic, messages, codec = 'none', acks = 'all') {
  const types = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }
  const compression = CompressionTypes[types[codec]]
  return (await producer(acks)).send({ topic, messages, acks: ACKS_NUMBERS[acks], compression })
}

function consumer(groupId) {
  return kafka.consumer({
    groupId, sessionTimeout: 6000, rebalanceTimeout: 6000, heartbeatInterval: 200, maxWaitTimeInMs: 100,
    allowAutoTopicCreation: false,
  })
}

// Reads `count` records of one partition. The library consumes in groups alone, so each read is one of its own.
async function read(topic, count, { partition = 0, from = 'earliest', afterSeek } = {}) {
  const reader = consumer(`${name}-read-${groups++}`)
  const found = []
  let fetched = false
  reader.on(reader.events.FETCH, () => { fetched = true })
  await reader.connect()
  await reader.subscribe({ topic, fromBeginning: from === 'earliest' })
  await reader.run({
    autoCommit: false,
    eachMessage: async seen => { if (seen.partition === partition) found.push(seen.message) },
  })
  if (typeof from === 'number') reader.seek({ topic, partition, offset: String(from) })
  // Once a fetch has come back the start was looked up.
  await eventually('a first fetch', () => fetched)
  if (afterSeek) await afterSeek()
  await eventually(`${count} records`, () => found.length >= count)
  await reader.disconnect()
  return found
}

const numbered = (prefix, from, to) => Array.from({ length: to - from }, (_, i) => `${prefix}${from + i}`)
const asMessages = values => values.map(value => ({ value }))
const valuesOf = records => records.map(r => r.value.toString())

async function failsWith(type, action) {
  let error
  try {
    await action()
  } catch (thrown) {
    error = thrown
  }
  assert(error, `${type} was expected, but it went well`)
  const cause = error.errors?.[0] ?? error.cause ?? error
  assert.equal(cause.type ?? error.type, type, String(error))
}

const cases = {
  async admin_create_and_describe() {
    const topic = await makeTopic('created', 3, { 'retention.ms': '7200000' })
    assert.equal(await topicConfig(topic, 'retention.ms'), '7200000')
    assert((await admin.listTopics()).includes(topic))
  },

  async admin_alter_config() {
    const topic = await makeTopic('altered', 1, { 'retention.ms': '7200000' })
    const configEntries = [{ name: 'max.message.bytes', value: '65536' }]
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }]
    await admin.alterConfigs({ validateOnly: false, resources })
    await eventually('the new value', async () => (await topicConfig(topic, 'max.message.bytes')) === '65536')
  },

  async admin_add_partitions() {
    const topic = await makeTopic('grown', 2)
    await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
    await eventually('5 partitions', async () => (await partitionCount(topic)) === 5)
  },

  async admin_delete_topic() {
    const topic = await makeTopic('deleted')
    await admin.deleteTopics({ topics: [topic] })
    await eventually('the topic to be gone', async () => !(await admin.listTopics()).includes(topic))
  },

  async keys_to_java_partitions() {
    const topic = await makeTopic('keys', 12)
    const lines = fs.readFileSync(keysFile, 'utf8').split('\n').filter(Boolean).map(line => line.split('\t'))
    for (const [key, partition] of lines) {
      const [sent] = await send(topic, [{ key, value: 'v' }])
      assert.equal(sent.partition, Number(partition), `partition of ${key}`)
    }
    assert.equal(lines.length, 168)
  },

  async headers() {
    const topic = await makeTopic('headers')
    const headers = { trace: Buffer.from([0, 255, 16]), empty: Buffer.alloc(0), größe: Buffer.from('größe') }
    await send(topic, [{ key: 'k', value: 'v', headers }, { value: 'none' }])
    const [first, second] = await read(topic, 2)
    assert.deepEqual(first.headers, headers)
    assert.deepEqual(second.headers, {})
  },

  async duplicate_header_keys() {
    const topic = await makeTopic('duplicate-headers')
    await send(topic, [{ value: 'v', headers: { a: ['1', '3', '1'], b: '2' } }])
    const [found] = await read(topic, 1)
    assert.deepEqual(found.headers.a.map(String), ['1', '3', '1'])
    assert.equal(String(found.headers.b), '2')
    return 'the library groups the values by key, so the order across keys is not its to keep'
  },

  async tombstones() {
    const topic = await makeTopic('tombstones', 1, { 'cleanup.policy': 'compact' })
    await send(topic, [{ key: 'k', value: 'alive' }, { key: 'k', value: null }, { key: 'k', value: '' }])
    assert.deepEqual((await read(topic, 3)).map(r => r.value && r.value.toString()), ['alive', null, ''])
  },

  async empty_and_null_keys() {
    const topic = await makeTopic('keys-empty-null')
    await send(topic, [{ key: '', value: '1', partition: 0 }, { key: null, value: '2', partition: 0 }])
    assert.deepEqual((await read(topic, 2)).map(r => r.key && r.key.toString()), ['', null])
  },

  async consume_from_earliest() {
    const topic = await makeTopic('earliest')
    await send(topic, asMessages(numbered('', 0, 10)))
    assert.deepEqual(valuesOf(await read(topic, 10)), numbered('', 0, 10))
  },

  async consume_from_latest() {
    const topic = await makeTopic('latest')
    await send(topic, asMessages(numbered('old', 0, 5)))
    const afterSeek = () => send(topic, asMessages(numbered('new', 0, 3)))
    const found = await read(topic, 3, { from: 'latest', afterSeek })
    assert.deepEqual(valuesOf(found), numbered('new', 0, 3))
    assert.equal(found[0].offset, '5')
  },

  async consume_from_timestamp() {
    const topic = await makeTopic('timestamps')
    const base = Date.now() - 100_000
    await send(topic, numbered('', 0, 10).map((value, i) => ({ value, timestamp: String(base + i * 1000) })))
    const offsetAt = async time => (await admin.fetchTopicOffsetsByTimestamp(topic, time))[0].offset
    assert.equal(await offsetAt(base + 3500), '4')
    assert.equal(await offsetAt(base + 3000), '3')
    // Where no record is that young the library answers with the end.
    assert.equal(await offsetAt(base + 100_000_000), '10')
    const found = await read(topic, 6, { from: 4 })
    assert.deepEqual(valuesOf(found.slice(-6)), numbered('', 4, 10))
    assert.equal(found.at(-6).timestamp, String(base + 4000))
  },

  async group_of_three_grows_and_shrinks() {
    const topic = await makeTopic('group', 6)
    const members = []
    const join = async () => {
      const member = { consumer: consumer(`${name}-group`), values: new Set(), partitions: [], running: true }
      member.consumer.on(member.consumer.events.GROUP_JOIN, ({ payload }) => {
        member.partitions = payload.memberAssignment[topic] ?? []
      })
      members.push(member)
      await member.consumer.connect()
      await member.consumer.subscribe({ topic, fromBeginning: true })
      await member.consumer.run({ eachMessage: async ({ message }) => { member.values.add(String(message.value)) } })
    }
    const leave = async member => {
      member.running = false
      await member.consumer.disconnect()
    }
    const shares = sizes => eventually(`shares of ${sizes}`, () => {
      const parts = members.filter(m => m.running).map(m => m.partitions)
      const lengths = parts.map(p => p.length).sort()
      return String(lengths) === String(sizes) && new Set(parts.flat()).size === 6
    })
    const write = async prefix => {
      const values = numbered(prefix, 0, 60)
      await send(topic, values.map((value, i) => ({ value, partition: i % 6 })))
      await eventually(`all of ${prefix}`, () => values.every(v => members.some(m => m.values.has(v))))
    }
    await join()
    await shares([6])
    await write('one')
    await Promise.all([join(), join()])
    await shares([2, 2, 2])
    await write('three')
    await leave(members[2])
    await shares([3, 3])
    await leave(members[1])
    await shares([6])
    await write('last')
    await leave(members[0])
  },

  async commit_and_resume() {
    const topic = await makeTopic('resume')
    const groupId = `${name}-resume`
    await send(topic, asMessages(numbered('', 0, 10)))
    const take = async (count, commit) => {
      const member = consumer(groupId)
      const found = []
      await member.connect()
      await member.subscribe({ topic, fromBeginning: true })
      await member.run({ autoCommit: false, eachMessage: async ({ message }) => { found.push(message) } })
      await eventually(`${count} records`, () => found.length >= count)
      await member.commitOffsets([{ topic, partition: 0, offset: commit }])
      await member.disconnect()
      return found
    }
    await take(4, '4')
    const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] })
    assert.equal(partitions[0].offset, '4')
    assert.deepEqual(valuesOf(await take(6, '10')), numbered('', 4, 10))
  },

  async error_unknown_topic() {
    await failsWith('UNKNOWN_TOPIC_OR_PARTITION', () => send('no-such-topic', asMessages(['v'])))
  },

  async error_invalid_topic_name() {
    await failsWith('INVALID_TOPIC_EXCEPTION', () => admin.createTopics({ topics: [{ topic: 'not a topic!' }] }))
  },

  async error_record_too_large() {
    const topic = await makeTopic('small', 1, { 'max.message.bytes': '10000' })
    await failsWith('MESSAGE_TOO_LARGE', () => send(topic, [{ value: Buffer.alloc(50_000) }], 'none', '1'))
    const [sent] = await send(topic, asMessages(['small']))
    assert.equal(sent.baseOffset, '0')
  },
}

for (const codec of CODECS) {
  for (const [partition, acks] of ACKS.entries()) {
    cases[`produce_${codec}_acks_${acks}`] = async () => {
      const topic = `${name}-codec-${codec}`
      if (!(await admin.listTopics()).includes(topic)) await makeTopic(`codec-${codec}`, 3)
      const values = numbered('', 0, 50).map(i => `${codec} ${acks} ${i} `.repeat(20))
      const sent = await send(topic, values.map(value => ({ value, partition })), codec, acks)
      if (acks !== '0') assert.deepEqual([sent[0].partition, sent[0].baseOffset], [partition, '0'])
      const found = await read(topic, 50, { partition })
      assert.deepEqual(valuesOf(found), values)
      assert.deepEqual(found.map(r => r.offset), numbered('', 0, 50))
    }
  }
}

async function main() {
  await plugCodecs()
  await admin.connect()
  for (const [id, run] of Object.entries(cases)) {
    if (only.length && !only.includes(id)) continue
    const started = Date.now()
    let line
    try {
      line = { case: id, status: 'ok', detail: (await run()) ?? '' }
    } catch (error) {
      line = { case: id, status: 'fail', detail: String(error.stack ?? error) }
    }
    console.log(JSON.stringify({ ...line, milliseconds: Date.now() - started }))
  }
  for (const each of Object.values(producers)) await each.disconnect()
  await admin.disconnect()
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
