#include "trainer/task/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quant/nn/lora_linear.h"
#include "quant/nn/lsq_quantizer.h"
#include "tests/trainer/task/task_support.h"
#include "tests/trainer/temporary_folder.h"
#include "trainer/model/language_model.h"
#include "trainer/model/layers_of.h"
#include "trainer/model_tensors.h"
#include "trainer/precision.h"

namespace thinwire::trainer {
namespace {

using test::message_of;
using test::TemporaryFolder;
using testing::AllOf;
using testing::HasSubstr;

// Options of a kind that needs a trained model, with one in `run`.
Options options_with_base(const std::string& kind, const std::string& run) {
  Options options = small_options(kind);
  if (kind != "pretrain") options.model.from = save_base(run);
  if (kind == "distill") options.task.teacher = run;
  return options;
}

class EveryTask : public testing::TestWithParam<const char*> {
 protected:
  TemporaryFolder folder_;
  Options options_ = options_with_base(GetParam(), folder_ / "base");
};

INSTANTIATE_TEST_SUITE_P(Kinds, EveryTask, testing::Values("pretrain", "qat", "lora", "distill"),
                         [](const auto& kind) { return std::string(kind.param); });

// Lora's factors start at zero, and one-bit weights turn only where their latent ones cross it.
double rate_of(const std::string& kind) {
  return kind == "lora" || kind == "distill" ? 1e-2 : 3e-3;
}

TEST_P(EveryTask, LearnsABatchOfText) {
  options_.distill.labels = 1;  // else the student learns its teacher's errors, not the text
  const auto task = make_task(options_);
  EXPECT_EQ(task->kind(), GetParam());
  const Batch first = text_batch(8);
  task->calibrate(first);
  const double loss_before = task->loss(first).item<double>(), text_before = task->evaluate(first);
  train(*task, 80, rate_of(GetParam()), /*stride=*/0);
  EXPECT_LT(task->loss(first).item<double>(), 0.97 * loss_before);
  EXPECT_LT(task->evaluate(first), 0.97 * text_before);
}

TEST_P(EveryTask, LearnsInBfloat16) {
  const auto task = make_task(options_);
  const PrecisionScope scope("bfloat16");
  task->calibrate(text_batch(8));
  const double before = task->loss(text_batch(8)).item<double>();
  train(*task, 40, rate_of(GetParam()), /*stride=*/0);
  EXPECT_LT(task->loss(text_batch(8)).item<double>(), 0.99 * before);
  for (const TrainedTensor& tensor : task->trained()) EXPECT_EQ(tensor.tensor.scalar_type(), at::kFloat);
}

TEST_P(EveryTask, ReplicasFedTheSameTextStayEqualBitForBit) {
  const auto one = make_task(options_), other = make_task(options_);
  for (Task* task : {one.get(), other.get()}) {
    task->calibrate(text_batch(4));
    train(*task, 10);
  }
  const auto tensors = model_tensors(one->model()), others = model_tensors(other->model());
  ASSERT_EQ(tensors.size(), others.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_TRUE(same_bits(tensors[i].second, others[i].second)) << tensors[i].first;
  }
}

TEST_P(EveryTask, NamesEachTensorOfTheModelOnceAsTrainedOrFrozen) {
  const auto task = make_task(options_);
  std::vector<std::string> named, expected;
  for (const TrainedTensor& tensor : task->trained()) {
    named.push_back(tensor.name);
    EXPECT_TRUE(tensor.tensor.requires_grad() && tensor.tensor.is_leaf()) << tensor.name;
    EXPECT_EQ(tensor.block, block_of(tensor.name));
    EXPECT_TRUE(tensor.travels);
  }
  for (const auto& [name, tensor] : task->frozen()) named.push_back(name);
  for (const auto& [name, tensor] : model_tensors(task->model())) expected.push_back(name);
  EXPECT_THAT(named, testing::UnorderedElementsAreArray(expected));
}

TEST_P(EveryTask, EvaluationSumsOverTokensAndLeavesTheModelTraining) {
  const auto task = make_task(options_);
  const Batch two = text_batch(2);
  const Batch first{two.tokens.narrow(0, 0, 1), two.targets.narrow(0, 0, 1)};
  Batch masked = text_batch(2);
  masked.targets[1].fill_(-100);
  EXPECT_NEAR(task->evaluate(masked), task->evaluate(first), 1e-3);
  EXPECT_GT(task->evaluate(two), 1.5 * task->evaluate(first));
  EXPECT_TRUE(task->model().is_training());
}

TEST(PretrainTask, GoesOnFromAnotherRun) {
  const TemporaryFolder folder;
  Options options = small_options();
  options.model.from = save_base(folder / "base");
  options.model.layers = 7;  // the sizes of model.from apply
  options.run.seed = 99;
  const auto task = make_task(options);
  const auto base = make_task(small_options());
  train(*base, 20);
  EXPECT_TRUE(same_bits(logits_of(task->model(), text_batch(2)), logits_of(base->model(), text_batch(2))));
}

TEST(QatTask, StepsTravelAsScalesOfTheirBlockAndDoNotDecay) {
  const auto task = make_task(small_options("qat"));
  int steps = 0;
  for (const TrainedTensor& tensor : task->trained()) {
    if (tensor.name.ends_with("_step")) {
      ++steps;
      EXPECT_EQ(tensor.group, TensorGroup::kScale);
      EXPECT_FALSE(tensor.decays);
      EXPECT_GE(tensor.block, 0);
    } else {
      EXPECT_NE(tensor.group, TensorGroup::kScale) << tensor.name;
      EXPECT_EQ(tensor.decays, tensor.tensor.dim() == 2) << tensor.name;
    }
  }
  EXPECT_EQ(steps, 2 * 7 * 2);  // weight and input, seven layers, two blocks
}

TEST(QatTask, CalibrationSetsAndNamesEveryActivationStep) {
  const auto task = make_task(small_options("qat"));
  const std::vector<std::string> names = task->calibrate(text_batch(4));
  EXPECT_EQ(names.size(), 14U);
  for (const TrainedTensor& tensor : task->trained()) {
    const bool named = std::find(names.begin(), names.end(), tensor.name) != names.end();
    EXPECT_EQ(named, tensor.name.ends_with("activation_step"));
    if (named) {
      EXPECT_NE(tensor.tensor.item<float>(), 1) << tensor.name;
    }
  }
}

TEST(QatTask, RulesApplyInOrderAndMayExemptLayers) {
  Options options = small_options("qat");
  options.quant.rule = {{.match = "attention", .weights = "none", .activations = "none"},
                        {.match = "mlp", .weights = "int2", .activations = "none"}};
  const auto task = make_task(options);
  int steps = 0;
  for (const TrainedTensor& tensor : task->trained()) {
    if (!tensor.name.ends_with("_step")) continue;
    ++steps;
    EXPECT_THAT(tensor.name, AllOf(HasSubstr(".mlp."), testing::EndsWith("weight_step")));
  }
  EXPECT_EQ(steps, 2 * 3);
}

TEST(QatTask, UpdatesCannotLeaveAStepBelowZero) {
  const auto task = make_task(small_options("qat"));
  {
    const at::NoGradGuard no_grad;
    for (const TrainedTensor& tensor : task->trained()) {
      if (tensor.name.ends_with("_step")) tensor.tensor.neg_();
    }
  }
  task->after_update();
  for (const TrainedTensor& tensor : task->trained()) {
    if (tensor.name.ends_with("_step")) {
      EXPECT_GT(tensor.tensor.min().item<float>(), 0) << tensor.name;
      EXPECT_EQ(tensor.least, static_cast<float>(quant::kMinLsqStep)) << tensor.name;
    } else {
      EXPECT_TRUE(std::isinf(tensor.least)) << tensor.name;
    }
  }
  EXPECT_GT(task->take_clamped_steps(), 14 + 14 * 32);
  EXPECT_EQ(task->take_clamped_steps(), 0);
  EXPECT_FALSE(make_task(small_options())->take_clamped_steps().has_value());
}

TEST(LoraTask, OnlyFactorsTrainAndTheBaseStaysPacked) {
  const TemporaryFolder folder;
  const auto task = make_task(options_with_base("lora", folder / "base"));
  std::int64_t trained = 0, base_bytes = 0, base_values = 0;
  for (const TrainedTensor& tensor : task->trained()) {
    trained += tensor.tensor.numel();
    EXPECT_THAT(tensor.name, testing::ContainsRegex("blocks\\.[01]\\..*lora_[ab]$"));
  }
  for (const auto& [name, tensor] : task->frozen()) {
    if (tensor.scalar_type() == at::kByte) base_bytes += tensor.numel();
    EXPECT_FALSE(name.starts_with("blocks.") && tensor.dim() == 2 && tensor.scalar_type() == at::kFloat)
        << name;
  }
  for (const auto& [path, layer] : layers_of<quant::LoraLinear>(task->model())) {
    const at::Tensor weight = layer->effective_weight();
    base_values += weight.numel();
    trained -= 4 * (weight.size(0) + weight.size(1));
  }
  EXPECT_EQ(trained, 0);
  EXPECT_LE(base_bytes, base_values / 2 + 4 * (base_values / 64 + 14));
}

TEST(LoraTask, StartsAsItsBaseAndOnlyBHasAGradient) {
  const TemporaryFolder folder;
  const auto task = make_task(options_with_base("lora", folder / "base"));
  task->loss(text_batch(4)).backward();
  for (const TrainedTensor& tensor : task->trained()) {
    const float largest = tensor.tensor.grad().abs().max().item<float>();
    if (tensor.name.ends_with("lora_a")) {
      EXPECT_EQ(largest, 0) << tensor.name;
    }
    if (tensor.name.ends_with("lora_b")) {
      EXPECT_GT(largest, 0) << tensor.name;
    }
    if (tensor.name.ends_with("lora_b")) {
      EXPECT_EQ(tensor.tensor.abs().max().item<float>(), 0);
    }
  }
}

TEST(LoraTask, DropoutIsAFunctionOfTheStepsKey) {
  const TemporaryFolder folder;
  Options options = options_with_base("lora", folder / "base");
  options.lora.dropout = 0.3;
  const auto task = make_task(options);
  train(*task, 3);
  const auto loss = [&](std::uint64_t key) {
    task->begin_step(key);
    return task->loss(text_batch(4)).detach();
  };
  EXPECT_TRUE(same_bits(loss(5), loss(5)));
  EXPECT_FALSE(same_bits(loss(5), loss(6)));
}

TEST(DistillTask, TheTeacherIsNeitherTrainedNorStored) {
  const TemporaryFolder folder;
  Options options = options_with_base("distill", folder / "base");
  options.model.from.clear();
  const auto task = make_task(options);
  EXPECT_TRUE(task->frozen().empty());
  EXPECT_EQ(task->trained().size(), make_task(small_options())->trained().size());
  for (const TrainedTensor& tensor : task->trained()) {
    const bool one_bit = tensor.name.starts_with("blocks.") && tensor.tensor.dim() == 2;
    EXPECT_EQ(tensor.decays, tensor.tensor.dim() == 2 && !one_bit) << tensor.name;
  }
}

TEST(DistillTask, WeightsOfTheLossesApply) {
  const TemporaryFolder folder;
  Options options = options_with_base("distill", folder / "base");
  const Batch batch = text_batch(4);
  const auto loss = [&](double logits, double hidden, double labels) {
    options.distill.logits = logits;
    options.distill.hidden = hidden;
    options.distill.labels = labels;
    return make_task(options)->loss(batch).item<double>();
  };
  const double logits = loss(1, 0, 0), hidden = loss(0, 1, 0), labels = loss(0, 0, 1);
  EXPECT_GT(std::min({logits, hidden, labels}), 0);
  EXPECT_NEAR(labels * batch.targets.numel(), make_task(options)->evaluate(batch), 1e-2);
  EXPECT_NEAR(loss(0.5, 2, 3), 0.5 * logits + 2 * hidden + 3 * labels, 1e-4);
}

TEST(DistillTask, AStudentEqualToItsTeacherHasNothingToLearn) {
  const TemporaryFolder folder;
  Options options = options_with_base("distill", folder / "base");
  options.distill.match = "blocks\\.0\\.attention\\.q$";
  const double one_layer = make_task(options)->loss(text_batch(4)).item<double>();
  options.distill.match = "blocks\\.";
  EXPECT_LT(one_layer, make_task(options)->loss(text_batch(4)).item<double>());
}

struct Refusal {
  const char* name;
  void (*spoil)(Options&);
  std::vector<std::string> message;
};

class TaskRefusal : public testing::TestWithParam<Refusal> {};

INSTANTIATE_TEST_SUITE_P(
    Settings, TaskRefusal,
    testing::Values(
        Refusal{"UnknownKind",
                [](Options& o) { o.task.kind = "pretain"; },
                {"pretrain, qat, lora, distill", "pretain"}},
        Refusal{"QatWithoutRules", [](Options& o) { o.task.kind = "qat"; }, {"[[quant.rule]]"}},
        Refusal{"UnknownWeights",
                [](Options& o) {
                  o.task.kind = "qat";
                  o.quant.rule = {{.weights = "int3"}};
                },
                {"quant.rule.weights", "int2, int4, int8, none", "int3"}},
        Refusal{"RuleThatMatchesNothing",
                [](Options& o) {
                  o.task.kind = "qat";
                  o.quant.rule = {{}, {.match = "bloks"}};
                },
                {"quant.rule.match", "bloks", "blocks.0.attention.q"}},
        Refusal{"RuleThatIsNoExpression",
                [](Options& o) {
                  o.task.kind = "qat";
                  o.quant.rule = {{.match = "("}};
                },
                {"quant.rule.match", "regular expression", "("}},
        Refusal{"LoraWithoutBase", [](Options& o) { o.task.kind = "lora"; }, {"model.from"}},
        Refusal{"DistillWithoutTeacher", [](Options& o) { o.task.kind = "distill"; }, {"task.teacher"}},
        Refusal{"MissingBase",
                [](Options& o) { o.model.from = "no/such/run"; },
                {"no/such/run", "found nothing"}}),
    [](const auto& refusal) { return refusal.param.name; });

TEST_P(TaskRefusal, SaysWhatWasExpectedAndFound) {
  Options options = small_options();
  GetParam().spoil(options);
  const std::string message = message_of([&] { make_task(options); });
  for (const std::string& part : GetParam().message) EXPECT_THAT(message, HasSubstr(part));
}

TEST(TaskRefusals, ModelsThatDoNotFitEachOther) {
  const TemporaryFolder folder;
  const std::string base = save_base(folder / "base", small_options(), /*steps=*/0);
  Options options = small_options("distill");
  options.task.teacher = base;
  options.model.width = 64;
  EXPECT_THAT(message_of([&] { make_task(options); }),
              AllOf(HasSubstr("width 64"), HasSubstr("distill.hidden = 0")));
  options.distill.hidden = 0;
  EXPECT_NO_THROW(make_task(options));
  options.model.vocab = 300;
  EXPECT_THAT(message_of([&] { make_task(options); }), AllOf(HasSubstr("256"), HasSubstr("300")));
  options.model.vocab = 256;
  options.distill.temperature = 0;
  EXPECT_THAT(message_of([&] { make_task(options); }), HasSubstr("distill.temperature"));

  Options lora = small_options("lora");
  lora.model.from = base;
  lora.model.vocab = 300;
  EXPECT_THAT(message_of([&] { make_task(lora); }), AllOf(HasSubstr("256"), HasSubstr("300")));
  lora.model.vocab = 256;
  lora.lora.match = "bloks";
  EXPECT_THAT(message_of([&] { make_task(lora); }), AllOf(HasSubstr("lora.match"), HasSubstr("bloks")));
  lora.lora.match = "blocks";
  lora.lora.base = "nf5";
  EXPECT_THAT(message_of([&] { make_task(lora); }), AllOf(HasSubstr("nf5"), HasSubstr("nf4")));
}

}  // namespace
}  // namespace thinwire::trainer
