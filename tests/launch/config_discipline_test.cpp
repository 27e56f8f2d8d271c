// Every key acts beside every method, optimiser and task, or is refused beside it; and what is written down
// can be read again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "launch/config/config.h"
#include "launch/config/lookup.h"
#include "launch/config/schema.h"
#include "trainer/plan.h"
#include "trainer/registries.h"
#include "trainer/run_folder.h"

namespace thinwire::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Names = std::set<std::string>;

const Names kAll;  // every registered name
const Names kExchanges = {"ddp", "diloco", "streaming_diloco", "eager_diloco"};
const Names kOuterSteps = {"diloco", "streaming_diloco", "eager_diloco"};
const Names kNoTeacher = {"pretrain", "qat", "lora"};  // else the teacher's tokenizer applies
const Names kFragments = {"streaming_diloco", "eager_diloco"};

// Where a key acts.
struct Statement {
  std::string key;
  std::string value;  // another one than the default
  Names methods = kAll, optimizers = kAll, tasks = kAll;
  std::vector<std::string> beside = {};  // settings without which it acts nowhere
  bool plan_differs = false;             // the change is seen before the first step
};

const std::vector<Statement>& statements() {
  static const std::vector<Statement> all = {
      {.key = "run.dir", .value = "elsewhere"},
      {.key = "run.seed", .value = "7"},
      {.key = "run.threads", .value = "2"},
      {.key = "model.arch", .value = "llama"},
      {.key = "model.from", .value = "a/run"},
      {.key = "model.layers", .value = "5", .plan_differs = true},
      {.key = "model.width", .value = "64", .plan_differs = true},
      {.key = "model.heads", .value = "2", .plan_differs = true},
      {.key = "model.kv_heads", .value = "2", .plan_differs = true},
      {.key = "model.mlp_width", .value = "64", .plan_differs = true},
      {.key = "model.context", .value = "512", .plan_differs = true},
      {.key = "model.vocab", .value = "300", .plan_differs = true},
      {.key = "model.tied", .value = "false", .plan_differs = true},
      {.key = "data.path", .value = "other.txt"},
      {.key = "data.tokenizer", .value = "bpe", .tasks = kNoTeacher, .plan_differs = true},
      {.key = "data.vocab_size",
       .value = "512",
       .tasks = kNoTeacher,
       .beside = {"data.tokenizer=bpe"},
       .plan_differs = true},
      {.key = "data.shards", .value = "by_source"},
      {.key = "data.held_out", .value = "0.5"},
      {.key = "data.sequence", .value = "64", .plan_differs = true},
      {.key = "task.kind", .value = "pretrain"},
      {.key = "task.teacher", .value = "another/run", .tasks = {"distill"}},
      {.key = "quant.rule", .value = "[{weights = \"int8\"}]", .tasks = {"qat"}},
      {.key = "lora.match", .value = "attention", .tasks = {"lora"}},
      {.key = "lora.rank", .value = "3", .tasks = {"lora"}},
      {.key = "lora.alpha", .value = "3", .tasks = {"lora"}},
      {.key = "lora.dropout", .value = "0.1", .tasks = {"lora"}},
      {.key = "lora.base", .value = "int8", .tasks = {"lora"}},
      {.key = "distill.match", .value = "attention", .tasks = {"distill"}},
      {.key = "distill.temperature", .value = "2", .tasks = {"distill"}},
      {.key = "distill.logits", .value = "2", .tasks = {"distill"}},
      {.key = "distill.hidden", .value = "2", .tasks = {"distill"}},
      {.key = "distill.labels", .value = "2", .tasks = {"distill"}},
      {.key = "inner.optimizer", .value = "sgd"},
      {.key = "inner.lr", .value = "0.5"},
      {.key = "inner.betas", .value = "[0.5, 0.5]"},
      {.key = "inner.momentum", .value = "0.5", .optimizers = {"muon"}},
      {.key = "inner.weight_decay", .value = "0"},
      {.key = "inner.warmup", .value = "3"},
      {.key = "inner.schedule", .value = "constant"},
      {.key = "inner.final_lr", .value = "0.5"},
      {.key = "inner.clip", .value = "0"},
      {.key = "inner.skip_nonfinite", .value = "3"},
      {.key = "inner.steps", .value = "700", .plan_differs = true},
      {.key = "inner.batch", .value = "16", .plan_differs = true},
      {.key = "inner.accumulate", .value = "2", .plan_differs = true},
      {.key = "inner.precision", .value = "bfloat16"},
      {.key = "outer.method", .value = "none"},
      {.key = "outer.sync_every", .value = "20", .methods = kOuterSteps, .plan_differs = true},
      {.key = "outer.fragments", .value = "2", .methods = kFragments, .plan_differs = true},
      {.key = "outer.layout", .value = "sequential", .methods = kFragments},
      {.key = "outer.overlap", .value = "5", .methods = {"streaming_diloco"}},
      {.key = "outer.alpha", .value = "0.25", .methods = {"streaming_diloco"}},
      {.key = "outer.lr", .value = "0.5", .methods = kOuterSteps},
      {.key = "outer.momentum", .value = "0.5", .methods = kOuterSteps},
      {.key = "outer.codec", .value = "int8", .methods = kExchanges, .plan_differs = true},
      {.key = "outer.embeddings_codec", .value = "int8", .methods = kFragments, .plan_differs = true},
      {.key = "outer.block", .value = "64", .methods = kExchanges},
      {.key = "outer.k",
       .value = "32",
       .methods = kExchanges,
       .beside = {"outer.codec=topk"},
       .plan_differs = true},
      {.key = "outer.rotate", .value = "true", .methods = kExchanges},
      {.key = "outer.rounding", .value = "stochastic", .methods = kExchanges, .beside = {"outer.codec=int4"}},
      {.key = "outer.error_feedback", .value = "false", .methods = kExchanges},
      {.key = "outer.decay", .value = "0.5", .methods = kExchanges, .beside = {"outer.error_feedback=true"}},
      {.key = "outer.leg", .value = "reduce", .methods = kExchanges, .plan_differs = true},
      {.key = "outer.final_sync", .value = "false", .methods = kOuterSteps, .plan_differs = true},
      {.key = "comm.backend", .value = "mpi"},
      {.key = "comm.link", .value = "20mbit/40ms"},
      {.key = "comm.timeout_s", .value = "5"},
      {.key = "checkpoint.every", .value = "7"},
      {.key = "checkpoint.keep", .value = "1"},
      {.key = "log.every", .value = "7"},
      {.key = "log.eval_every", .value = "7"},
      {.key = "log.tensorboard", .value = "false"},
  };
  return all;
}

// One of the ways to train.
struct Way {
  std::string method, optimizer, task;
};

std::string config_of(const Way& way) {
  std::string text = "[run]\ndir = \"runs/x\"\n[data]\npath = \"" THINWIRE_SOURCE_DIR "/LICENSE\"\n";
  text += "[outer]\nmethod = \"" + way.method + "\"\n[inner]\noptimizer = \"" + way.optimizer + "\"\n";
  text += "[task]\nkind = \"" + way.task + "\"\n";
  if (way.task == "distill") text += "teacher = \"some/run\"\n";
  if (way.task == "qat") text += "[[quant.rule]]\n";
  return text;
}

std::vector<Way> all_ways() {
  std::vector<Way> ways;
  for (const std::string& method : trainer::outer_methods()) {
    for (const std::string& optimizer : trainer::inner_optimizers()) {
      for (const std::string& task : trainer::task_kinds()) ways.push_back({method, optimizer, task});
    }
  }
  return ways;
}

bool holds(const Names& names, const std::string& name) {
  return names.empty() || names.contains(name);
}

bool acts(const Statement& statement, const Way& way) {
  return holds(statement.methods, way.method) && holds(statement.optimizers, way.optimizer) &&
         holds(statement.tasks, way.task);
}

// The message of the refusal, or "".
std::string refusal(const Way& way, const std::vector<std::string>& overrides,
                    trainer::Options* options = nullptr) {
  try {
    const trainer::Options read = parse_config(config_of(way), "job.toml", overrides);
    if (options != nullptr) *options = read;
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

std::vector<std::string> with(std::vector<std::string> overrides, const Statement& statement) {
  overrides.push_back(statement.key + "=" + statement.value);
  return overrides;
}

std::string name_of(const Way& way) {
  return way.method + " " + way.optimizer + " " + way.task;
}

TEST(ConfigDiscipline, ThereIsOneStatementForEveryKey) {
  std::vector<std::string> known, stated;
  for (const Section& section : schema()) {
    for (const Key& key : section.keys) known.push_back(section.name + "." + key.name);
  }
  for (const Statement& statement : statements()) stated.push_back(statement.key);
  EXPECT_EQ(known, stated);
}

// Method, optimiser and task choose themselves.
bool is_a_choice(const std::string& key) {
  return key == "outer.method" || key == "inner.optimizer" || key == "task.kind";
}

TEST(ConfigDiscipline, AKeyThatIsGivenActsOrIsRefused) {
  for (const Way& way : all_ways()) {
    for (const Statement& statement : statements()) {
      if (is_a_choice(statement.key)) continue;
      const std::string refused = refusal(way, with(statement.beside, statement));
      if (acts(statement, way)) {
        EXPECT_EQ(refused, "") << name_of(way) << ": " << statement.key;
      } else {
        EXPECT_THAT(refused, HasSubstr("means nothing to")) << name_of(way) << ": " << statement.key;
      }
      if (!statement.beside.empty() && acts(statement, way) && way.method != "ddp") {
        std::vector<std::string> without = {statement.key + "=" + statement.value};
        if (statement.key == "outer.decay") without.push_back("outer.error_feedback=false");
        if (statement.key == "outer.rounding") without.push_back("outer.codec=fp32");
        EXPECT_NE(refusal(way, without), "") << name_of(way) << ": " << statement.key;
      }
    }
  }
}

TEST(ConfigDiscipline, WhatIsChosenOtherwiseLeavesOnlyTheChoice) {
  for (const Way& way : all_ways()) {
    trainer::Options options;
    ASSERT_EQ(refusal(way, {}, &options), "") << name_of(way);
    EXPECT_EQ(options.outer.method, way.method);
    EXPECT_EQ(options.inner.optimizer, way.optimizer);
    EXPECT_EQ(options.task.kind, way.task);
  }
}

bool same(const trainer::RunPlan& a, const trainer::RunPlan& b) {
  return a.parameters == b.parameters && a.trainable == b.trainable && a.tokens == b.tokens &&
         a.commits == b.commits && a.wire_bytes == b.wire_bytes && a.held_bytes == b.held_bytes &&
         a.peak_bytes == b.peak_bytes && a.model.context == b.model.context && a.model.heads == b.model.heads;
}

// Three workers: of two the legs of a mean cost alike. The last step is no outer one, so that there is a
// final sync; and the leg is compared with the other one, since auto may have chosen it.
TEST(ConfigDiscipline, WhatThePlanCountsChangesThePlan) {
  for (const std::string& method : trainer::outer_methods()) {
    const Way way = {method, "adamw", "pretrain"};
    for (const Statement& statement : statements()) {
      if (!statement.plan_differs || !acts(statement, way)) continue;
      trainer::Options before, after;
      ASSERT_EQ(refusal(way, statement.beside, &before), "");
      ASSERT_EQ(refusal(way, with(statement.beside, statement), &after), "");
      if (statement.key != "inner.steps") before.inner.steps = after.inner.steps = 605;
      if (statement.key == "outer.leg") before.outer.leg = "gather";
      EXPECT_FALSE(same(trainer::plan_run(before, 3), trainer::plan_run(after, 3)))
          << method << ": " << statement.key;
    }
  }
}

TEST(ConfigDiscipline, AStoredConfigReadsBackToItselfWhateverItChose) {
  for (const Way& way : all_ways()) {
    trainer::Options options;
    ASSERT_EQ(refusal(way, {}, &options), "");
    const std::string stored = to_toml(options);
    EXPECT_EQ(to_toml(parse_config(stored, "config.toml", {})), stored) << name_of(way);
  }
}

class StoredConfig : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/stored_config_" + std::to_string(::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
};

TEST_F(StoredConfig, StartsAnotherRunOfTheSameKind) {
  for (const Way& way : all_ways()) {
    trainer::Options options;
    ASSERT_EQ(refusal(way, {}, &options), "");
    const std::string path = folder_ + "/config.toml";
    std::ofstream(path) << trainer::sealed(to_toml(options));
    std::vector<std::string> notes;
    const trainer::Options again = load_config(path, {"run.dir=runs/new"}, &notes);
    EXPECT_THAT(notes, IsEmpty()) << name_of(way);
    EXPECT_THAT(differing_keys(options, again), ElementsAre("run.dir")) << name_of(way);
  }
}

TEST_F(StoredConfig, TakesAnotherMethodAndRefusesWhatMeansNothingToIt) {
  trainer::Options options;
  ASSERT_EQ(refusal({"streaming_diloco", "adamw", "pretrain"}, {}, &options), "");
  const std::string path = folder_ + "/config.toml";
  std::ofstream(path) << trainer::sealed(to_toml(options));
  EXPECT_EQ(load_config(path, {"outer.method=diloco"}).outer.method, "diloco");
  EXPECT_THROW(load_config(path, {"outer.method=diloco", "outer.overlap=3"}), ConfigError);
}

std::vector<std::string> examples() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(THINWIRE_SOURCE_DIR "/examples")) {
    if (entry.path().extension() == ".toml") paths.push_back(entry.path());
  }
  return paths;
}

TEST(Examples, AreReadWithoutARemark) {
  EXPECT_FALSE(examples().empty());
  for (const std::string& path : examples()) {
    std::vector<std::string> notes;
    EXPECT_NO_THROW(load_config(path, {}, &notes)) << path;
    EXPECT_THAT(notes, IsEmpty()) << path;
  }
}

TEST(Examples, TakeEveryOtherMethodAndSayWhatIsSetAside) {
  for (const std::string& path : examples()) {
    for (const std::string& method : trainer::outer_methods()) {
      if (method == "streaming_diloco") continue;
      std::vector<std::string> notes;
      ASSERT_NO_THROW(load_config(path, {"outer.method=" + method}, &notes)) << path << " " << method;
      EXPECT_THAT(testing::PrintToString(notes), HasSubstr("outer.overlap")) << path << " " << method;
    }
  }
}

TEST(ConfigDiscipline, WhatIsSetAsideIsAsIfItWereNotGiven) {
  std::vector<std::string> notes;
  const std::string config =
      "[run]\ndir = \"x\"\n[data]\npath = \"y\"\n[outer]\nembeddings_codec = \"int8\"\noverlap = 3\n";
  const trainer::Options options = parse_config(config, "job.toml", {"outer.method=diloco"}, &notes);
  EXPECT_EQ(options.outer.embeddings_codec, "");
  EXPECT_EQ(options.outer.overlap, trainer::Options{}.outer.overlap);
  EXPECT_EQ(notes.size(), 1u);
  EXPECT_THAT(notes.at(0), HasSubstr("outer.embeddings_codec, outer.overlap"));
}

TEST(ConfigDiscipline, TheTokenizerOfAModelThatIsStartedFromIsItsOwn) {
  const Way way = {"diloco", "adamw", "pretrain"};
  EXPECT_THAT(refusal(way, {"model.from=some/run", "data.tokenizer=bpe"}),
              HasSubstr("means nothing to a run that starts from"));
}

}  // namespace
}  // namespace thinwire::launch
