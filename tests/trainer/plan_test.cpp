#include "trainer/plan.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "comm/backend/backend.h"
#include "comm/progress_engine.h"
#include "tests/trainer/task/task_support.h"
#include "tests/trainer/temporary_folder.h"
#include "trainer/inner/optimizer_plan.h"
#include "trainer/model/language_model.h"
#include "trainer/options/options.h"
#include "trainer/outer/outer_loop.h"
#include "trainer/outer/outer_plan.h"
#include "trainer/task/task_tensors.h"

namespace thinwire::trainer {
namespace {

using test::message_of;
using testing::HasSubstr;

// A folder for one test, with a base model in it.
class Plan : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder() = testing::TempDir() + "/plan_test_" + std::to_string(::getpid());
    std::filesystem::create_directories(folder());
    save_base(folder() + "/base", small_options(), /*steps=*/1);
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(folder()); }
  static std::string& folder() {
    static std::string path;
    return path;
  }

  static Options options_of(const std::string& kind) {
    Options options = small_options(kind);
    options.data.path = {THINWIRE_LICENSE};
    options.data.sequence = 32;
    options.outer.fragments = 2;
    if (kind == "lora") options.model.from = folder() + "/base";
    if (kind == "distill") options.task.teacher = folder() + "/base";
    return options;
  }
};

std::vector<TensorShape> tensors_of(const Options& options) {
  Options settled = options;
  settled.model = settled_sizes(options.model);
  settled.model.from = options.model.from;
  return task_tensors(settled, model_layers(settled.model));
}

constexpr const char* kKinds[] = {"pretrain", "qat", "lora", "distill"};

TEST_F(Plan, NamesTheTensorsThatTheTaskTrains) {
  for (const char* kind : kKinds) {
    for (const bool tied : {true, false}) {
      Options options = options_of(kind);
      options.model.tied = options.model.from.empty() ? tied : true;
      options.model.kv_heads = options.model.from.empty() ? 1 : 2;
      if (kind == std::string("distill")) options.distill.hidden = 0;
      const auto task = make_task(options);
      std::vector<TensorShape> planned = tensors_of(options);
      std::uint64_t frozen_bytes = 0, planned_frozen_bytes = 0;
      for (const auto& [name, tensor] : task->frozen()) frozen_bytes += tensor.nbytes();
      std::erase_if(planned, [&](const TensorShape& tensor) {
        if (!tensor.trains) planned_frozen_bytes += tensor.bytes;
        return !tensor.trains;
      });
      EXPECT_EQ(planned_frozen_bytes, frozen_bytes) << kind;
      const std::vector<TrainedTensor> trained = task->trained();
      ASSERT_EQ(planned.size(), trained.size()) << kind;
      for (std::size_t i = 0; i < trained.size(); ++i) {
        EXPECT_EQ(planned[i].name, trained[i].name) << kind;
        EXPECT_EQ(planned[i].values, trained[i].tensor.numel()) << trained[i].name;
        EXPECT_EQ(planned[i].group, trained[i].group) << trained[i].name;
        EXPECT_EQ(planned[i].block, trained[i].block) << trained[i].name;
        EXPECT_EQ(planned[i].travels, trained[i].travels) << trained[i].name;
        EXPECT_EQ(planned[i].bytes, trained[i].tensor.nbytes()) << trained[i].name;
      }
    }
  }
}

TEST_F(Plan, CountsWhatTheOptimiserHolds) {
  Options options = options_of("pretrain");
  for (const char* name : {"adamw", "muon", "sgd"}) {
    options.inner.optimizer = name;
    for (const double momentum : {0.0, 0.9}) {
      options.inner.betas = {momentum, 0.95};
      const auto task = make_task(options);
      std::int64_t values = 0;
      for (const auto& [key, tensor] : make_inner_optimizer(options.inner, task->trained())->state().tensors)
        if (tensor.scalar_type() == at::kFloat && tensor.dim() > 0) values += tensor.numel();
      EXPECT_EQ(optimizer_values(options.inner, tensors_of(options)), values) << name << " " << momentum;
    }
  }
}

// Drives a real loop of a world of one through all steps, and counts its commits.
std::int64_t commits_of_loop(const Options& options, std::int64_t steps) {
  const auto task = make_task(options);
  comm::ProgressEngine engine([] { return comm::make_solo(); });
  engine.start();
  const auto loop = make_outer_loop(
      {.options = options.outer, .seed = 1, .total_steps = steps, .engine = &engine}, task->trained());
  std::int64_t commits = 0;
  for (std::int64_t step = 1; step <= steps; ++step) {
    if (loop->reduces_gradients()) loop->reduce_gradients(step);
    loop->after_step(step);
    commits += static_cast<std::int64_t>(loop->take_commits().size());
  }
  loop->finish(steps);
  return commits + static_cast<std::int64_t>(loop->take_commits().size());
}

TEST_F(Plan, CountsTheCommitsOfEveryMethod) {
  Options options = options_of("pretrain");
  options.outer.fragments = 2;
  for (const char* method : {"none", "ddp", "diloco", "streaming_diloco", "eager_diloco"}) {
    options.outer.method = method;
    for (const std::int64_t period : {1, 3, 6}) {
      options.outer.sync_every = period;
      for (const std::int64_t overlap : {0, 1}) {
        options.outer.overlap = overlap;
        for (const bool final_sync : {true, false}) {
          options.outer.final_sync = final_sync;
          for (const std::int64_t steps : {1, 2, 5, 6, 7, 12, 20}) {
            options.inner.steps = steps;
            EXPECT_EQ(plan_run(options, 1).commits, commits_of_loop(options, steps))
                << method << ", period " << period << ", overlap " << overlap << ", final sync " << final_sync
                << ", " << steps << " steps";
          }
        }
      }
    }
  }
}

TEST_F(Plan, CountsParametersTokensAndSizes) {
  const Options options = options_of("pretrain");
  const RunPlan plan = plan_run(options, 3);
  EXPECT_EQ(plan.tokens, options.inner.steps * options.inner.batch * options.data.sequence * 3);
  std::int64_t parameters = 0;
  for (const at::Tensor& parameter : make_task(options)->model().parameters())
    parameters += parameter.numel();
  EXPECT_EQ(plan.parameters, parameters);
  EXPECT_EQ(plan.trainable, parameters);
  EXPECT_EQ(plan.model.mlp_width, 96);
  EXPECT_EQ(plan.model.kv_heads, 2);
  EXPECT_EQ(plan_run(options, 1).wire_bytes, 0u);
}

TEST_F(Plan, TakesSizesFromTheModelThatIsStartedFrom) {
  Options options = options_of("lora");
  options.model.layers = 7;
  options.model.vocab = 0;
  const RunPlan plan = plan_run(options, 2);
  EXPECT_EQ(plan.model.layers, 2);
  EXPECT_EQ(plan.model.vocab, 256);
  EXPECT_LT(plan.trainable, plan.parameters);
  options.model.from = folder() + "/nothing";
  EXPECT_THAT(message_of([&] { plan_run(options, 2); }), HasSubstr("model.from: expected a run"));
}

TEST_F(Plan, IsThereAtOnceForModelsThatNoMachineHolds) {
  Options options = options_of("pretrain");
  options.model.width = 65536;
  options.model.layers = 200;
  const RunPlan plan = plan_run(options, 100000);
  EXPECT_GT(plan.parameters, std::int64_t{1} << 41);
  EXPECT_GT(plan.held_bytes, std::uint64_t{1} << 44);
  options.model.width = std::int64_t{1} << 40;
  EXPECT_THAT(message_of([&] { plan_run(options, 1); }), HasSubstr("that some machine can hold"));
  options.model.width = 64;
  options.model.layers = std::int64_t{1} << 60;
  EXPECT_THAT(message_of([&] { plan_run(options, 1); }), HasSubstr("that some machine can hold"));
  options.model.layers = 2;
  options.inner.steps = std::int64_t{1} << 62;
  EXPECT_GT(plan_run(options, 2).tokens, 0);
}

}  // namespace
}  // namespace thinwire::trainer
