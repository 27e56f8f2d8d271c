// Whole runs of two workers in this process: what a run ends with does not depend on whether it was broken
// off.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "tests/comm/world.h"
#include "tests/trainer/temporary_folder.h"
#include "trainer/format/manifest.h"
#include "trainer/worker.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::read_bytes;
using test::TemporaryFolder;

constexpr int kWorkers = 2;
constexpr std::int64_t kSteps = 20, kMiddle = 10;

// With H = 6 and tau = 2, a fragment is in flight at the middle.
Options small_job(const std::string& method) {
  Options options;
  options.model.layers = 2;
  options.model.width = 32;
  options.model.heads = 2;
  options.model.context = 32;
  options.data.path = {THINWIRE_LICENSE};
  options.data.sequence = 32;
  options.inner.steps = kSteps;
  options.inner.batch = 2;
  options.inner.warmup = 5;
  options.inner.lr = 3e-3;
  options.outer.method = method;
  options.outer.sync_every = 6;
  options.outer.fragments = 2;
  options.outer.overlap = 2;
  options.outer.block = 64;
  options.checkpoint.every = kMiddle;
  options.checkpoint.keep = 2;
  options.log.every = 3;
  options.log.tensorboard = false;
  return options;
}

// Worker 0's summary.
json run_world(const Options& options, bool resume) {
  json summary;
  comm::run_engines(kWorkers, [&](comm::ProgressEngine& engine) {
    WorkerContext context;
    context.options = options;
    context.config_toml = context.shared_config = "the same on all workers\n";
    context.to_toml = [](const Options&) { return "the same on all workers\n"; };
    context.resume = resume;
    context.engine = &engine;
    const RunResult result = run_worker(context);
    if (engine.rank() == 0) summary = result.summary;
  });
  return summary;
}

std::string worker_folder(const std::string& run, std::int64_t step, int worker) {
  return run + "/checkpoints/step-" + std::to_string(step) + "/worker-" + std::to_string(worker);
}

// The folder of `run` as it was in the middle, had the run been killed after its checkpoint there.
void copy_middle(const std::string& run, const std::string& broken_off) {
  fs::copy(run, broken_off, fs::copy_options::recursive);
  fs::remove_all(broken_off + "/checkpoints/step-" + std::to_string(kSteps));
  fs::remove(broken_off + "/summary.json");
}

// The records of a log, without what a clock has measured (and the hash of it), and without the bytes: what
// is in flight at a checkpoint is sent again by the resume, and counted again.
std::vector<json> records(const std::string& log) {
  std::vector<json> found;
  std::istringstream lines(read_bytes(log));
  for (std::string line; std::getline(lines, line);) {
    json record = json::parse(line);
    for (const char* measured : {"check", "tokens_per_s", "wire_bits_per_s", "late_seconds", "wire_bytes"})
      record.erase(measured);
    found.push_back(record);
  }
  return found;
}

class WorkerResume : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Methods, WorkerResume,
                         testing::Values("none", "ddp", "diloco", "streaming_diloco", "eager_diloco"),
                         [](const auto& method) { return std::string(method.param); });

TEST_P(WorkerResume, EndsBitForBitAsIfItHadNotBeenBrokenOff) {
  TemporaryFolder folder;
  Options options = small_job(GetParam());
  options.run.dir = folder / "whole";
  const json whole = run_world(options, /*resume=*/false);
  copy_middle(folder / "whole", folder / "resumed");
  options.run.dir = folder / "resumed";
  const json resumed = run_world(options, /*resume=*/true);

  EXPECT_TRUE(whole.at("resumed_from").is_null());
  EXPECT_EQ(resumed.at("resumed_from"), kMiddle);
  for (const char* same : {"outer_digest", "eval_loss", "train_loss", "tokens"})
    EXPECT_EQ(resumed.at(same), whole.at(same)) << same;
  for (const char* log : {"metrics.jsonl", "commits.jsonl"})
    EXPECT_EQ(records(folder / "resumed/" + log), records(folder / "whole/" + log)) << log;
  for (int worker = 0; worker < kWorkers; ++worker) {
    const std::string state = "/state.safetensors";
    EXPECT_EQ(read_bytes(worker_folder(folder / "resumed", kSteps, worker) + state),
              read_bytes(worker_folder(folder / "whole", kSteps, worker) + state))
        << "worker " << worker;
  }
}

TEST_P(WorkerResume, TrainsOnEveryWorker) {
  TemporaryFolder folder;
  Options options = small_job(GetParam());
  options.run.dir = folder / "run";
  const json summary = run_world(options, /*resume=*/false);
  EXPECT_EQ(summary.at("workers"), kWorkers);
  EXPECT_LT(summary.at("eval_loss"), 5.3);  // the uniform guess over bytes has ln 256 = 5.55
  const std::vector<json> metrics = records(folder / "run/metrics.jsonl");
  EXPECT_EQ(metrics.front().at("losses").size(), kWorkers);
  EXPECT_LT(metrics.at(metrics.size() - 2).at("loss"), metrics.front().at("loss"));
}

}  // namespace
}  // namespace thinwire::trainer
