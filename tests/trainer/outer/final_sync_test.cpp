// The sync after the last step: no step is lost, whatever the period and the overlap.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/trainer/outer/toy_world.h"

namespace thinwire::trainer {
namespace {

constexpr const char* kMethods[] = {"diloco", "streaming_diloco", "eager_diloco"};

OuterOptions synced_options(const std::string& method, const std::string& codec = "fp32") {
  OuterOptions options = toy_options(method, codec);
  options.final_sync = true;
  return options;
}

std::vector<float> live_values(ToyWorker& worker) {
  std::vector<float> values;
  for (const TrainedTensor& t : worker.tensors())
    values.insert(values.end(), t.tensor.data_ptr<float>(), t.tensor.data_ptr<float>() + t.tensor.numel());
  return values;
}

void expect_close(const std::vector<float>& found, const std::vector<float>& expected,
                  const std::string& what) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 64 * std::numeric_limits<float>::epsilon()) << what << ", value " << i;
}

// With one worker, rate 1 and no momentum the agreed copy follows the worker: at the end it is where the
// worker is. Where no merge holds the worker back - all but streaming_diloco with an overlap - that is where
// plain descent leads, through every step.
TEST(FinalSync, TheModelOfOneWorkerHasEveryStep) {
  for (const std::string method : kMethods)
    for (const std::int64_t steps : {5, 6, 7, 10, 24, 25})
      comm::run_engines(1, [&](comm::ProgressEngine& engine) {
        OuterOptions options = synced_options(method);
        options.lr = 1;
        options.momentum = 0;
        ToyWorker worker(options, engine, steps);
        worker.train(1, steps);
        const std::string what = method + " after " + std::to_string(steps) + " steps";
        const std::vector<float> found = agreed_values(worker);
        expect_close(found, live_values(worker), what);
        if (method == "streaming_diloco") return;
        expect_close(found, run_toy_world(1, toy_options("none"), steps).agreed[0], what);
      });
}

TEST(FinalSync, EveryFragmentIsCommittedAtTheLastStepUnlessItWasSentThere) {
  for (const char* method : kMethods) {
    const std::int64_t steps = 24;
    const ToyResult without = run_toy_world(2, toy_options(method), steps);
    const ToyResult with = run_toy_world(2, synced_options(method), steps);
    std::map<std::int64_t, std::int64_t> last_sent;
    for (const CommitRecord& record : with.commits[0]) {
      last_sent[record.fragment] = std::max(last_sent[record.fragment], record.sent_step);
    }
    for (const auto& [fragment, step] : last_sent)
      EXPECT_EQ(step, steps) << method << " fragment " << fragment;
    // Without overlap fragment 0 is due at step 24: it is not sent twice.
    std::int64_t at_the_end = 0;
    for (const CommitRecord& record : with.commits[0]) at_the_end += record.sent_step == steps;
    EXPECT_EQ(at_the_end, static_cast<std::int64_t>(last_sent.size())) << method;
    EXPECT_GE(with.commits[0].size(), without.commits[0].size());
    for (int w = 0; w < 2; ++w) EXPECT_EQ(with.digests[0], with.digests[w]) << method;
  }
}

TEST(FinalSync, IsSkippedWhereTheLastStepSyncedAll) {
  const ToyResult without = run_toy_world(2, toy_options("diloco"), 24);
  const ToyResult with = run_toy_world(2, synced_options("diloco"), 24);
  EXPECT_EQ(with.digests[0], without.digests[0]);
  EXPECT_EQ(with.sent[0].wire, without.sent[0].wire);
}

TEST(FinalSync, WorkersAgreeWithEveryCodecAndReturnLeg) {
  for (const char* method : kMethods)
    for (const char* codec : {"e3m0", "int2", "sign"})
      for (const char* leg : {"gather", "reduce"}) {
        OuterOptions options = synced_options(method, codec);
        options.leg = leg;
        const ToyResult result = run_toy_world(3, options, 20);
        for (int w = 1; w < 3; ++w) EXPECT_EQ(result.digests[0], result.digests[w]) << method << " " << codec;
      }
}

// A run that gets more steps goes on from its end: what the last sync sent is not sent again.
TEST(FinalSync, MoreStepsGoOnFromIt) {
  for (const std::string method : kMethods)
    comm::run_engines(1, [&](comm::ProgressEngine& engine) {
      OuterOptions options = synced_options(method);
      options.lr = 1;
      options.momentum = 0;
      ToyWorker first(options, engine, 10);
      first.train(1, 10);
      ToyWorker second(options, engine, 17);
      second.load(first.state());
      second.train(11, 17);
      const std::vector<float> found = agreed_values(second);
      expect_close(found, live_values(second), method);
      if (method == "streaming_diloco") return;
      expect_close(found, run_toy_world(1, toy_options("none"), 17).agreed[0], method);
    });
}

}  // namespace
}  // namespace thinwire::trainer
