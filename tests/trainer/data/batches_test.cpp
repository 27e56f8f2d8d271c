#include "trainer/data/batches.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/trainer/temporary_folder.h"
#include "trainer/data/byte_tokenizer.h"
#include "trainer/data/tokenizer.h"
#include "trainer/format/file_io.h"

namespace thinwire::test {
namespace {

using testing::HasSubstr;
using trainer::Batch;
using trainer::Batches;
using trainer::DataOptions;
using trainer::DataShard;

constexpr std::int64_t kSequence = 8;

// Every position's four bytes are unlike all others', so that a window tells where it is from.
std::string counting_text(int first, int numbers) {
  std::string text;
  for (int n = first; n < first + numbers; ++n) {
    text += {static_cast<char>(n / 90 % 90 + 33), static_cast<char>(n % 90 + 33),
             static_cast<char>(n / 8100 + 33), '\n'};
  }
  return text;
}

class BatchesTest : public testing::Test {
 protected:
  BatchesTest() {
    options_.path = {write("a", counting_text(0, 500))};
    options_.sequence = kSequence;
    options_.held_out = 0;
  }

  std::string write(const std::string& name, const std::string& text) {
    write_bytes(folder_ / name, text);
    return folder_ / name;
  }

  std::unique_ptr<Batches> make(const DataShard& shard = {}) {
    return trainer::make_batches(options_, tokenizer_, shard, folder_ / "cache");
  }

  std::vector<Batch> held_out(const DataShard& shard, std::int64_t sequences) {
    const trainer::EvaluationText text = make(shard)->held_out(sequences);
    std::vector<Batch> batches;
    for (std::size_t i = 0; i < text.size; ++i) batches.push_back(text.batch(i));
    return batches;
  }

  std::string text_of(const at::Tensor& row) {
    const at::Tensor tokens = row.to(at::kInt);
    return tokenizer_.decode({tokens.data_ptr<std::int32_t>(), static_cast<std::size_t>(tokens.numel())});
  }

  // The windows of one epoch of a shard, in the order read.
  std::vector<std::string> epoch(Batches& batches) {
    std::vector<std::string> windows;
    for (std::int64_t read = 0; read < batches.train_tokens(); read += kSequence) {
      windows.push_back(text_of(batches.next(1).tokens[0]));
    }
    return windows;
  }

  TemporaryFolder folder_;
  trainer::ByteTokenizer tokenizer_;
  DataOptions options_;
};

TEST_F(BatchesTest, ShiftsTargetsByOne) {
  const Batch batch = make()->next(3);
  EXPECT_EQ(batch.tokens.sizes(), (at::IntArrayRef{3, kSequence}));
  EXPECT_EQ(batch.tokens.scalar_type(), at::kLong);
  EXPECT_TRUE(at::equal(batch.tokens.narrow(1, 1, kSequence - 1), batch.targets.narrow(1, 0, kSequence - 1)));
  const std::string text = counting_text(0, 500);
  for (std::int64_t row = 0; row < 3; ++row) {
    const std::size_t at = text.find(text_of(batch.tokens[row]));
    ASSERT_NE(at, std::string::npos);
    EXPECT_EQ(text_of(batch.targets[row]), text.substr(at + 1, kSequence));
  }
}

TEST_F(BatchesTest, ShardsAreDisjointAndComplete) {
  for (const int workers : {1, 2, 3, 7}) {
    std::multiset<std::string> seen;
    std::set<std::int64_t> sizes;
    for (int worker = 0; worker < workers; ++worker) {
      const auto batches = make({worker, workers, 5});
      for (const std::string& window : epoch(*batches)) seen.insert(window);
      sizes.insert(batches->train_tokens());
    }
    std::multiset<std::string> expected;
    const std::string text = counting_text(0, 500);
    for (std::size_t at = 0; at + kSequence + 1 <= text.size(); at += kSequence) {
      expected.insert(text.substr(at, kSequence));
    }
    EXPECT_EQ(seen, expected) << workers << " workers";
    EXPECT_LE(*sizes.rbegin() - *sizes.begin(), kSequence) << workers << " workers";
  }
}

TEST_F(BatchesTest, EveryEpochIsAnotherOrderOfTheSameWindows) {
  const auto batches = make({0, 1, 5});
  const auto first = epoch(*batches), second = epoch(*batches);
  EXPECT_NE(first, second);
  EXPECT_EQ(std::multiset<std::string>(first.begin(), first.end()),
            std::multiset<std::string>(second.begin(), second.end()));
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
}

TEST_F(BatchesTest, OrderIsAFunctionOfSeedAndWorkerNotOfBatchSize) {
  EXPECT_EQ(epoch(*make({1, 2, 5})), epoch(*make({1, 2, 5})));
  EXPECT_NE(epoch(*make({0, 1, 5})), epoch(*make({0, 1, 6})));
  const auto singles = make({0, 1, 5}), triples = make({0, 1, 5});
  for (int i = 0; i < 200; ++i) {  // past the first epoch's end, which 3 does not divide
    const Batch three = triples->next(3);
    for (std::int64_t row = 0; row < 3; ++row) {
      ASSERT_TRUE(at::equal(three.tokens[row], singles->next(1).tokens[0])) << "batch " << i;
    }
  }
}

TEST_F(BatchesTest, GoOnExactlyFromTheirState) {
  const DataShard shard{1, 3, 5};
  const std::int64_t windows = make(shard)->train_tokens() / kSequence;
  for (const std::int64_t read :
       {std::int64_t{0}, std::int64_t{7}, windows - 1, windows, windows + 4, 3 * windows}) {
    const auto straight = make(shard);
    for (std::int64_t i = 0; i < read; ++i) straight->next(1);
    const auto resumed = make(shard);
    resumed->next(2);
    resumed->load(straight->state());
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(at::equal(resumed->next(2).tokens, straight->next(2).tokens)) << "after " << read;
    }
  }
}

TEST_F(BatchesTest, RefuseTheStateOfOtherData) {
  const trainer::State state = make()->state();
  EXPECT_THAT(message_of([&] { make({0, 2, 0})->load(state); }), HasSubstr("other data"));
  write("a", counting_text(1, 500));
  EXPECT_THAT(message_of([&] { make()->load(state); }),
              AllOf(HasSubstr("other data"), HasSubstr("'" + (folder_ / "a") + "' had 2000 bytes")));
  trainer::State past = make()->state();
  past.meta["index"] = 1000000;
  EXPECT_THAT(message_of([&] { make()->load(past); }), HasSubstr("position 1000000"));
}

TEST_F(BatchesTest, GoOnWithTheSameTextAtAnotherPath) {
  const trainer::State state = make()->state();
  options_.path = {write("moved", counting_text(0, 500))};
  make()->load(state);
}

TEST_F(BatchesTest, BySourceGivesEachWorkerItsOwn) {
  options_.shards = "by_source";
  options_.path = {write("a", counting_text(0, 100)), write("b", counting_text(200, 150)),
                   write("c", counting_text(400, 50))};
  const std::vector<std::string> texts = {counting_text(0, 100), counting_text(200, 150),
                                          counting_text(400, 50)};
  for (int worker = 0; worker < 3; ++worker) {
    for (const std::string& window : epoch(*make({worker, 3, 1}))) {
      EXPECT_THAT(texts[static_cast<std::size_t>(worker)], HasSubstr(window));
    }
  }
  // Of more sources than workers none is lost.
  EXPECT_EQ(make({0, 2, 1})->train_tokens(),
            make({0, 3, 1})->train_tokens() + make({2, 3, 1})->train_tokens());
}

TEST_F(BatchesTest, BySourceRefusesMoreWorkersThanSources) {
  options_.shards = "by_source";
  EXPECT_THAT(message_of([&] { make({0, 4, 1}); }), HasSubstr("each of 4 workers, found 1"));
  options_.shards = "odd";
  EXPECT_THAT(message_of([&] { make(); }), HasSubstr("found 'odd'"));
}

TEST_F(BatchesTest, HeldOutTextCountsEveryTargetOnceHoweverManyWorkers) {
  options_.held_out = 0.23;
  for (const std::int64_t sequences : {1, 3, 1000}) {
    const std::vector<Batch> whole = held_out({0, 1, 1}, sequences);
    std::string read, targets;
    for (const Batch& batch : whole) {
      read += text_of(batch.tokens.flatten());
      targets += text_of(batch.targets.flatten());
    }
    EXPECT_EQ(read.substr(1), targets.substr(0, targets.size() - 1)) << sequences << " sequences";
    EXPECT_THAT(counting_text(0, 500), HasSubstr(read + targets.back()));
    EXPECT_NEAR(static_cast<double>(read.size()), 0.23 * 2000, 5);
    // Of several workers each takes every n-th batch, whatever its seed.
    std::uint64_t tokens = 0, bytes = 0;
    for (int worker = 0; worker < 3; ++worker) {
      const std::vector<Batch> share = held_out({worker, 3, 9}, sequences);
      for (std::size_t i = 0; i < share.size(); ++i)
        EXPECT_TRUE(at::equal(share[i].tokens, whole.at(static_cast<std::size_t>(worker) + 3 * i).tokens));
      const trainer::EvaluationText text = make({worker, 3, 9})->held_out(sequences);
      EXPECT_EQ(text.groups, std::vector<std::size_t>(share.size(), 1));
      tokens += text.tokens;
      bytes += text.bytes;
    }
    EXPECT_EQ(tokens, read.size() + 1) << "counted by one worker alone";
    EXPECT_EQ(bytes, tokens);
  }
}

TEST_F(BatchesTest, BySourceEachWorkerEvaluatesItsOwnHeldOutText) {
  options_.shards = "by_source";
  options_.held_out = 0.2;
  options_.path = {write("a", counting_text(0, 100)), write("b", counting_text(200, 150)),
                   write("c", counting_text(400, 50))};
  const auto read = [&](const std::vector<Batch>& batches) {
    std::string text;
    for (const Batch& batch : batches) text += text_of(batch.tokens.flatten());
    return text;
  };
  std::string by_worker;
  for (int worker = 0; worker < 3; ++worker) {
    const std::string mine = read(held_out({worker, 3, 1}, 2));
    const int first = 200 * worker;
    EXPECT_THAT(counting_text(first, worker == 0 ? 100 : worker == 1 ? 150 : 50), HasSubstr(mine));
    EXPECT_GT(mine.size(), 20u);
    by_worker += mine;
  }
  EXPECT_EQ(read(held_out({0, 1, 1}, 2)), by_worker) << "all of them where one worker has all sources";
}

TEST_F(BatchesTest, BySourceNeedsAWorkersOwnSourceAlone) {
  options_.shards = "by_source";
  options_.path = {folder_ / "elsewhere", write("b", counting_text(200, 150))};
  const DataShard shard{1, 2, 1};
  EXPECT_GT(make(shard)->train_tokens(), 0);
  EXPECT_THAT(message_of([&] { make({0, 2, 1}); }), HasSubstr(folder_ / "elsewhere"));
  // What the others have is known by its hash, and is part of what a checkpoint is of.
  std::vector<trainer::Source> sources = trainer::open_sources(options_, shard);
  trainer::read_sources(sources, trainer::AcceptedText::kUtf8, {});
  sources[0].bytes = 7;
  sources[0].hash = std::string(32, '1');
  const auto with_other = [&] {
    return make_batches(options_, tokenizer_, shard, sources, folder_ / "cache");
  };
  const trainer::State state = with_other()->state();
  with_other()->load(state);
  sources[0].hash = std::string(32, '2');
  EXPECT_THAT(message_of([&] { with_other()->load(state); }), HasSubstr(folder_ / "elsewhere"));
}

TEST_F(BatchesTest, HeldOutTextIsNotTrainedOn) {
  options_.held_out = 0.2;
  std::string evaluated;
  for (const Batch& batch : held_out({}, 1000)) evaluated += text_of(batch.tokens.flatten());
  for (const std::string& window : epoch(*make())) EXPECT_EQ(evaluated.find(window), std::string::npos);
}

// A run that is resumed reads on in the order that it began with.
TEST_F(BatchesTest, OrderIsWhatItWas) {
  std::string order;
  options_.held_out = 0.1;
  for (const int worker : {0, 1}) {
    const auto batches = make({worker, 2, 5});
    for (int i = 0; i < 3; ++i) {
      for (const std::string& window : epoch(*batches)) order += window;
    }
  }
  EXPECT_EQ(trainer::xxh3_128_hex(order), "d7b22b6c0540694b6ccb67a0a19d4e0e");
}

TEST_F(BatchesTest, RefuseACorpusTooShortForASequence) {
  options_.path = {write("short", "12345678")};
  EXPECT_THAT(message_of([&] { make(); }), AllOf(HasSubstr("needs 9 tokens"), HasSubstr("has 8")));
  options_.path = {write("nine", "123456789")};
  EXPECT_EQ(make()->next(2).tokens.size(0), 2);
  EXPECT_THAT(message_of([&] { make({1, 2, 0}); }), HasSubstr("worker 1 of 2"));
  options_.path = {folder_ / "missing"};
  EXPECT_THAT(message_of([&] { make(); }), HasSubstr("missing"));
  options_.path = {folder_ / "nine"};
  options_.sequence = 0;
  EXPECT_THAT(message_of([&] { make(); }), HasSubstr("data.sequence"));
}

TEST_F(BatchesTest, RefuseAHeldOutPartTooShortToEvaluate) {
  options_.path = {write("tiny", "123456789012345678901234567890")};
  options_.held_out = 0.02;
  EXPECT_THAT(message_of([&] { make(); }), HasSubstr("evaluation needs 2"));
}

}  // namespace
}  // namespace thinwire::test
