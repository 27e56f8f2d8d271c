#include "comm/mean.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <stdexcept>

#include "comm/collectives/chunks.h"
#include "comm/collectives/segments.h"
#include "quant/codec/wire_header.h"
#include "quant/kernel/outer_ops.h"
#include "tests/comm/world.h"

namespace thinwire::comm {
namespace {

using quant::Codec;
using quant::CodecOptions;
using quant::Rounding;

std::vector<float> values_of(int rank, std::size_t num_values) {
  std::mt19937 generator(1000 + rank);
  std::vector<float> values(num_values);
  for (float& value : values) value = 0.01f * (static_cast<float>(generator()) / 4294967296.0f - 0.5f);
  return values;
}

constexpr std::uint64_t kSeed = 5;

std::uint64_t key_of(const MeanSpec& spec, int rank) {
  return quant::stream_key({.seed = spec.seed,
                            .step = spec.step,
                            .worker = static_cast<std::uint32_t>(rank),
                            .fragment = spec.fragment});
}

Buffer encode(const Codec& codec, const MeanSpec& spec, int rank, std::size_t num_values) {
  Buffer payload(codec.encoded_bytes(num_values));
  codec.encode(values_of(rank, num_values), key_of(spec, rank), payload);
  return payload;
}

MeanSpec spec_of(Leg leg, int rank = 0) {
  return {.step = 60, .fragment = 2, .seed = kSeed, .leg = leg, .state_digest = 77u + rank};
}

// The mean by the definition, without any exchange.
std::vector<float> plain_mean(const Codec& codec, Leg leg, int workers, std::size_t num_values) {
  std::vector<float> mean(num_values);
  for (int r = 0; r < workers; ++r) {
    const Buffer payload = encode(codec, spec_of(leg), r, num_values);
    r == 0 ? codec.decode(payload, mean) : codec.decode_add(payload, mean);
  }
  quant::divide_in_place(mean, static_cast<float>(workers));
  if (leg == Leg::kGather) return mean;
  for (int r = 0; r < workers; ++r) {
    const Chunk chunk = chunk_of(r, workers, num_values, codec.block());
    const auto part = std::span(mean).subspan(chunk.first, chunk.num_values);
    Buffer code(codec.encoded_bytes(part.size()));
    codec.encode(part, quant::stream_key({kSeed, 60, static_cast<std::uint32_t>(r), 2, 1}), code);
    codec.decode(code, part);
  }
  return mean;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

// The mean as a caller puts it together from its parts.
std::vector<float> mean_by_parts(const CodedMean& coded, const Codec& codec, std::size_t num_values) {
  std::vector<float> mean(num_values, -1.0f);
  coded.for_each_part([&](const CodedMean::Part& part) {
    const auto values = std::span(mean).subspan(part.range.first, part.range.count);
    bool is_first = true;
    for (const quant::CodedValues& payload : part.payloads) {
      is_first ? codec.decode_range(payload.num_values, payload.first, payload.code, values)
               : codec.decode_add_range(payload.num_values, payload.first, payload.code, values);
      is_first = false;
    }
    quant::divide_in_place(values, static_cast<float>(part.payloads.size()));
  });
  return mean;
}

// From a payload coded before, or from values that the mean replaces.
enum class Form { kPayload, kValues };

void check_mean(const std::shared_ptr<const Codec>& codec, Leg leg, int workers, std::size_t num_values,
                Form form = Form::kPayload) {
  const std::vector<float> expected = plain_mean(*codec, leg, workers, num_values);
  run_engines(workers, [&](ProgressEngine& engine) {
    const int rank = engine.rank();
    const MeanSpec spec = spec_of(leg, rank);
    const Buffer payload = form == Form::kPayload ? encode(*codec, spec, rank, num_values) : Buffer();
    std::vector<float> mean = form == Form::kValues ? values_of(rank, num_values) : std::vector<float>();
    const auto operation =
        form == Form::kPayload
            ? CodedMean::make(spec, codec, num_values, payload)
            : CodedMean::make(spec, codec, mean, encode_values(codec, mean, key_of(spec, rank)));
    engine.submit(operation).wait();
    mean.resize(num_values);
    operation->decode_mean(mean);
    EXPECT_TRUE(same_bits(mean, expected)) << codec->name() << " leg " << int(leg) << " rank " << rank
                                           << " of " << workers << " n " << num_values;
    if (form == Form::kPayload) {
      EXPECT_TRUE(same_bits(mean_by_parts(*operation, *codec, num_values), expected));
    }
    EXPECT_TRUE(std::ranges::equal(operation->payload(), payload));
    for (int r = 0; r < workers; ++r) EXPECT_EQ(operation->state_digests()[r], 77u + r);
    const auto sent = operation->sent_bytes();
    const std::uint64_t formula = mean_wire_bytes(leg, workers, rank, *codec, num_values);
    EXPECT_EQ(std::accumulate(sent.begin(), sent.end(), std::uint64_t{0}), formula);
    EXPECT_EQ(engine.sent().wire, formula);
  });
}

TEST(CodedMean, GivesTheSameBitsOnAllRanksForEveryCodecLegAndWorld) {
  for (const std::string& name : quant::codec_names()) {
    for (const Rounding rounding : {Rounding::kNearest, Rounding::kStochastic}) {
      const std::shared_ptr<const Codec> codec =
          quant::make_codec({.name = name, .block = 64, .rounding = rounding});
      for (const Leg leg : {Leg::kGather, Leg::kReduce}) {
        for (const int workers : {1, 2, 3, 4}) check_mean(codec, leg, workers, 1009);
      }
    }
  }
}

// Several chunks, and a rotated codec with a last block that is not.
TEST(CodedMean, GivesTheSameBitsOnAllRanksForSparseAndRotatedPayloads) {
  for (const CodecOptions& options : {CodecOptions{.name = "topk", .k = 100},
                                      CodecOptions{.name = "topk", .rounding = Rounding::kStochastic},
                                      CodecOptions{.name = "int2", .block = 64, .rotate = true}}) {
    const std::shared_ptr<const Codec> codec = quant::make_codec(options);
    for (const Leg leg : {Leg::kGather, Leg::kReduce}) {
      for (const int workers : {2, 3}) check_mean(codec, leg, workers, 5 * 4096 + 77);
    }
  }
}

TEST(CodedMean, TakesAnySizeEvenWithFewerBlocksThanWorkers) {
  const std::shared_ptr<const Codec> codec = quant::make_codec({.name = "int4", .block = 64});
  for (const std::size_t num_values : {0, 1, 63, 64, 65, 131, 257}) {
    for (const Leg leg : {Leg::kGather, Leg::kReduce}) {
      for (const int workers : {1, 3, 4, 8}) check_mean(codec, leg, workers, num_values);
    }
  }
}

// Several segments, the last one short, in every leg of every world.
TEST(CodedMean, GivesInSegmentsTheBitsOfOnePiece) {
  const std::size_t num_values = kSegmentValues + 1009;
  for (const std::string& name : quant::codec_names()) {
    const std::shared_ptr<const Codec> nearest = quant::make_codec({.name = name, .block = 256});
    ASSERT_GE(Segments(*nearest, num_values).count(), 2u) << name;
    const std::shared_ptr<const Codec> stochastic =
        quant::make_codec({.name = name, .block = 256, .rounding = Rounding::kStochastic});
    check_mean(nearest, Leg::kGather, 2, num_values, Form::kValues);
    check_mean(stochastic, Leg::kGather, 3, num_values, Form::kPayload);
    check_mean(nearest, Leg::kReduce, 2, num_values, Form::kPayload);
    check_mean(stochastic, Leg::kReduce, 2, num_values, Form::kValues);
  }
}

TEST(CodedMean, CodesAndDecodesWhereTheValuesStand) {
  const std::shared_ptr<const Codec> codec =
      quant::make_codec({.name = "int4", .block = 64, .rounding = Rounding::kStochastic});
  for (const std::size_t num_values : {0, 1, 63, 64, 1009}) {
    for (const Leg leg : {Leg::kGather, Leg::kReduce}) {
      for (const int workers : {1, 3}) check_mean(codec, leg, workers, num_values, Form::kValues);
    }
  }
}

TEST(CodedMean, ReducesChunksOfUnequalNumbersOfSegments) {
  const std::shared_ptr<const Codec> codec = quant::make_codec({.name = "fp32", .block = 4096});
  const std::size_t num_values = (16 + 16 + 17) * std::size_t{4096};
  ASSERT_EQ(Segments(*codec, chunk_of(0, 3, num_values, 4096).num_values).count(), 1u);
  ASSERT_EQ(Segments(*codec, chunk_of(2, 3, num_values, 4096).num_values).count(), 2u);
  check_mean(codec, Leg::kReduce, 3, num_values, Form::kPayload);
  check_mean(codec, Leg::kReduce, 3, num_values, Form::kValues);
}

TEST(CodedMean, RunsManyFragmentsAtOnce) {
  const std::shared_ptr<const Codec> codec = quant::make_codec({.name = "e3m0", .block = 32});
  run_engines(3, [&](ProgressEngine& engine) {
    std::vector<std::shared_ptr<CodedMean>> means;
    std::vector<Ticket> tickets;
    for (std::uint32_t fragment = 0; fragment < 12; ++fragment) {
      MeanSpec spec = spec_of(fragment % 2 == 0 ? Leg::kReduce : Leg::kGather);
      spec.fragment = fragment;
      const std::size_t num_values = 100 * fragment;
      means.push_back(
          CodedMean::make(spec, codec, num_values, encode(*codec, spec, engine.rank(), num_values)));
      tickets.push_back(engine.submit(means.back()));
    }
    for (std::size_t i = 0; i < means.size(); ++i) {
      tickets[i].wait();
      std::vector<float> mean(100 * i);
      means[i]->decode_mean(mean);
    }
  });
}

TEST(CodedMean, IsEqualOnBothLegsWhenTheCodecDoesNotRound) {
  const std::shared_ptr<const Codec> codec = quant::make_codec({.name = "fp32", .block = 64});
  EXPECT_TRUE(
      same_bits(plain_mean(*codec, Leg::kGather, 4, 1009), plain_mean(*codec, Leg::kReduce, 4, 1009)));
}

TEST(CodedMean, CutsPayloadsAtBlockBordersWithoutDecoding) {
  for (const std::string& name : quant::codec_names()) {
    const std::shared_ptr<const Codec> codec = quant::make_codec({.name = name, .block = 64});
    const std::size_t block = codec->block();
    const std::vector<float> values = values_of(0, 15 * block + 49);
    Buffer code(codec->encoded_bytes(values.size()));
    codec->encode(values, 0, code);
    for (int r = 0; r < 5; ++r) {
      const Chunk chunk = chunk_of(r, 5, values.size(), block);
      Buffer part(codec->encoded_bytes(chunk.num_values)), expected(part.size());
      codec->slice(code, values.size(), {chunk.first, chunk.num_values}, part);
      codec->encode(std::span(values).subspan(chunk.first, chunk.num_values), 0, expected);
      EXPECT_EQ(part, expected) << name << " chunk " << r;
    }
    Buffer part(codec->encoded_bytes(block));
    EXPECT_THROW(codec->slice(code, values.size(), {8, block}, part), std::invalid_argument);
    EXPECT_THROW(codec->slice(code, values.size(), {15 * block, block}, part), std::invalid_argument);
  }
}

TEST(CodedMean, RefusesAPayloadOrAMeanOfAnotherSize) {
  const std::shared_ptr<const Codec> codec = quant::make_codec({.name = "int8", .block = 64});
  EXPECT_THROW(CodedMean::make(spec_of(Leg::kGather), codec, 100, Buffer(99)), std::invalid_argument);
  ProgressEngine engine(make_solo);
  engine.start();
  const auto mean =
      CodedMean::make(spec_of(Leg::kGather), codec, 100, encode(*codec, spec_of(Leg::kGather), 0, 100));
  engine.submit(mean).wait();
  std::vector<float> wrong(99);
  EXPECT_THROW(mean->decode_mean(wrong), std::invalid_argument);
}

std::string codec_number(const std::string& name) {
  return std::to_string(quant::make_codec({.name = name})->wire_id());
}

// Two workers whose configs differ: both name what differs.
TEST(CodedMean, RefusesAFrameOfAnotherConfigAndNamesBothValues) {
  struct Case {
    std::string field, first, second;
    CodecOptions codec = {.name = "int8", .block = 64};
    MeanSpec spec = spec_of(Leg::kGather);
  };
  const std::vector<Case> cases = {
      {.field = "codec",
       .first = codec_number("int8"),
       .second = codec_number("fp32"),
       .codec = {.name = "fp32"}},
      {.field = "block", .first = "64", .second = "128", .codec = {.name = "int8", .block = 128}},
      {.field = "rotated",
       .first = "0",
       .second = "1",
       .codec = {.name = "int8", .block = 64, .rotate = true}},
      {.field = "fragment", .first = "2", .second = "3", .spec = {.step = 60, .fragment = 3, .seed = kSeed}},
      {.field = "step", .first = "60", .second = "61", .spec = {.step = 61, .fragment = 2, .seed = kSeed}},
  };
  for (const Case& other : cases) {
    const auto makers = make_thread_world(2, 5);
    run_ranks(2, [&](int rank) {
      ProgressEngine engine(makers[rank]);
      engine.start();
      const std::shared_ptr<const Codec> codec =
          quant::make_codec(rank == 0 ? CodecOptions{.name = "int8", .block = 64} : other.codec);
      const MeanSpec spec = rank == 0 ? spec_of(Leg::kGather) : other.spec;
      const auto mean = CodedMean::make(spec, codec, 100, encode(*codec, spec, rank, 100));
      const CommError error = expect_comm_error([&] { engine.submit(mean).wait(); });
      EXPECT_EQ(error.kind(), CommError::Kind::kBadMessage) << error.what();
      const std::string text = error.what();
      EXPECT_NE(text.find(other.field), std::string::npos) << text;
      EXPECT_NE(text.find(other.first), std::string::npos) << text;
      EXPECT_NE(text.find(other.second), std::string::npos) << text;
    });
  }
}

TEST(CodedMean, RefusesAFrameOfAnotherKAndNamesBoth) {
  const auto makers = make_thread_world(2, 5);
  run_ranks(2, [&](int rank) {
    ProgressEngine engine(makers[rank]);
    engine.start();
    const std::shared_ptr<const Codec> codec =
        quant::make_codec({.name = "topk", .k = rank == 0 ? 64u : 128u});
    const MeanSpec spec = spec_of(Leg::kGather);
    const auto mean = CodedMean::make(spec, codec, 5000, encode(*codec, spec, rank, 5000));
    const CommError error = expect_comm_error([&] { engine.submit(mean).wait(); });
    EXPECT_EQ(error.kind(), CommError::Kind::kBadMessage) << error.what();
    const std::string expected = rank == 0 ? "expected k 64, found 128" : "expected k 128, found 64";
    EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
  });
}

TEST(ChooseLeg, GathersWhatIsSparse) {
  const auto sparse = quant::make_codec({.name = "topk"});
  for (int workers = 1; workers <= 16; ++workers) {
    EXPECT_EQ(choose_leg("auto", workers, *sparse, 1'000'000), Leg::kGather) << workers;
  }
}

TEST(ChooseLeg, GathersUntilReducingSendsLessThanHalf) {
  const auto few_bits = quant::make_codec({.name = "e3m0", .block = 256});
  const auto exact = quant::make_codec({.name = "fp32", .block = 256});
  const std::size_t n = 1'000'000;
  for (int workers = 1; workers <= 8; ++workers) {
    EXPECT_EQ(choose_leg("auto", workers, *few_bits, n), workers >= 5 ? Leg::kReduce : Leg::kGather)
        << workers;
    EXPECT_EQ(choose_leg("auto", workers, *exact, n), workers >= 3 ? Leg::kReduce : Leg::kGather) << workers;
    EXPECT_EQ(choose_leg("auto", workers, *few_bits, 8), Leg::kGather) << "headers dominate a tiny fragment";
  }
  EXPECT_EQ(choose_leg("gather", 8, *exact, n), Leg::kGather);
  EXPECT_EQ(choose_leg("reduce", 2, *few_bits, n), Leg::kReduce);
  EXPECT_THROW(choose_leg("ring", 2, *exact, n), std::invalid_argument);
}

TEST(MeanWireBytes, FollowsTheFormulaOfEachLeg) {
  const std::shared_ptr<const Codec> codec = quant::make_codec({.name = "int8", .block = 256});
  // 1024 values are 4 blocks of 256 + 4 bytes.
  EXPECT_EQ(mean_wire_bytes(Leg::kGather, 4, 0, *codec, 1024), 3u * (64 + 1040));
  EXPECT_EQ(mean_wire_bytes(Leg::kReduce, 4, 0, *codec, 1024), 3u * (64 + 260) + 3u * (64 + 260));
  EXPECT_EQ(mean_wire_bytes(Leg::kGather, 1, 0, *codec, 1024), 0u);
  EXPECT_EQ(mean_wire_bytes(Leg::kReduce, 1, 0, *codec, 1024), 0u);
}

TEST(MeanWireBytes, CountsAHeaderForEverySegment) {
  const std::shared_ptr<const Codec> codec = quant::make_codec({.name = "fp32", .block = 256});
  // 65536 values are 256 KiB, a segment.
  EXPECT_EQ(mean_wire_bytes(Leg::kGather, 2, 0, *codec, 65536), 64u + 262144);
  EXPECT_EQ(mean_wire_bytes(Leg::kGather, 2, 0, *codec, 65537), 2 * 64u + 262148);
  EXPECT_EQ(mean_wire_bytes(Leg::kGather, 3, 0, *codec, 200'000), 2 * (4 * 64u + 800'000));
  EXPECT_EQ(mean_wire_bytes(Leg::kReduce, 2, 0, *codec, 400'000), 2 * (4 * 64u) + 1'600'000);
}

TEST(Segments, HoldWholeBlocksAndNoMoreThanTheirBounds) {
  for (const std::string& name : quant::codec_names()) {
    for (const std::size_t block : {8, 96, 256, 4096, 1 << 20}) {
      const std::shared_ptr<const Codec> codec = quant::make_codec({.name = name, .block = block});
      const std::size_t num_values = (std::size_t{5} << 20) + 3;
      const Segments segments(*codec, num_values);
      std::size_t next = 0;
      for (std::size_t s = 0; s < segments.count(); ++s) {
        EXPECT_EQ(segments[s].first, next) << name;
        EXPECT_EQ(next % codec->block(), 0u) << name;
        EXPECT_GT(segments[s].count, 0u) << name;
        if (block <= 4096) {
          EXPECT_LE(segments[s].count, kSegmentValues);
          EXPECT_LE(codec->encoded_bytes(segments[s].count), kSegmentBytes);
        }
        next += segments[s].count;
      }
      EXPECT_EQ(next, num_values) << name;
    }
  }
  EXPECT_EQ(Segments(*quant::make_codec({.name = "fp32"}), 0).count(), 1u) << "of no values";
}

}  // namespace
}  // namespace thinwire::comm
