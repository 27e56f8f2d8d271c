#include "trainer/model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/trainer/task/task_support.h"
#include "tests/trainer/temporary_folder.h"
#include "trainer/model/language_model.h"
#include "trainer/model_tensors.h"
#include "trainer/run_folder.h"

namespace thinwire::trainer {
namespace {

using test::message_of;
using test::TemporaryFolder;
using testing::HasSubstr;

// A trained task of one kind in a run's folder.
class SavedTask {
 public:
  explicit SavedTask(const std::string& kind) : options(small_options(kind)) {
    if (kind != "pretrain") options.model.from = save_base(folder / "base");
    if (kind == "distill") options.task.teacher = folder / "base";
    task = make_task(options);
    task->calibrate(text_batch(4));
    train(*task, 5);
    save_run(run, *task, options);
  }

  at::Tensor logits() {
    task->model().eval();
    return logits_of(task->model(), batch);
  }

  TemporaryFolder folder;
  Options options;
  std::unique_ptr<Task> task;
  const std::string run = folder / "run";
  const Batch batch = text_batch(2, 50);
};

class EveryKind : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Kinds, EveryKind, testing::Values("pretrain", "qat", "lora", "distill"),
                         [](const auto& kind) { return std::string(kind.param); });

TEST_P(EveryKind, CheckpointsGiveTheSameLogitsWithoutBaseAndTeacher) {
  SavedTask saved(GetParam());
  std::filesystem::remove_all(saved.folder / "base");
  for (const char* inside : {"", "/", "/checkpoints/step-1", "/checkpoints/step-1/worker-0"}) {
    const LoadedModel loaded = load_model(saved.run + inside);
    EXPECT_TRUE(same_bits(logits_of(*loaded.model, saved.batch), saved.logits())) << inside;
    EXPECT_EQ(loaded.options.task.kind, GetParam());
    EXPECT_EQ(loaded.tokenizer, ByteTokenizer().to_bytes());
    EXPECT_FALSE(loaded.model->is_training());
    for (const at::Tensor& parameter : loaded.model->parameters()) EXPECT_FALSE(parameter.requires_grad());
  }
}

class EveryLowBitKind : public EveryKind {};

INSTANTIATE_TEST_SUITE_P(Kinds, EveryLowBitKind, testing::Values("qat", "lora", "distill"),
                         [](const auto& kind) { return std::string(kind.param); });

TEST_P(EveryLowBitKind, PackedFilesGiveTheSameLogitsBitForBit) {
  SavedTask saved(GetParam());
  const std::string packed = saved.folder / "packed.safetensors";
  export_model(saved.run, ExportFormat::kPacked, OutputPath(packed));
  const LoadedModel loaded = load_model(packed);
  EXPECT_TRUE(same_bits(logits_of(*loaded.model, saved.batch), saved.logits()));
  EXPECT_EQ(loaded.tokenizer, ByteTokenizer().to_bytes());

  // No layer of the blocks came back as floats of full size, in the file or in memory.
  for (const auto& [name, tensor] : model_tensors(*loaded.model)) {
    EXPECT_FALSE(name.ends_with(".weight") && name.starts_with("blocks.") && tensor.dim() == 2) << name;
  }
  const std::string again = saved.folder / "again.safetensors";
  export_model(packed, ExportFormat::kPacked, OutputPath(again));
  EXPECT_EQ(test::read_bytes(packed), test::read_bytes(again));
}

// The float32 tensors of a safetensors file whose names end so, by the format's own description: a length, a
// header in JSON, bytes.
std::map<std::string, std::vector<float>> read_plainly(const std::string& path, const std::string& ending) {
  const std::string bytes = test::read_bytes(path);
  std::uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  const auto header = nlohmann::json::parse(bytes.substr(8, header_bytes));
  std::map<std::string, std::vector<float>> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (!name.ends_with(ending)) continue;
    EXPECT_EQ(entry.at("dtype"), "F32");
    const std::size_t begin = entry.at("data_offsets")[0], end = entry.at("data_offsets")[1];
    std::vector<float>& values = tensors[name];
    values.resize((end - begin) / sizeof(float));
    std::memcpy(values.data(), bytes.data() + 8 + header_bytes + begin, end - begin);
  }
  return tensors;
}

// Saves the task as a run, exports it, and expects what every reader of LSQ steps relies on.
void expect_positive_steps(Task& task, const Options& options, const TemporaryFolder& folder) {
  const Batch batch = text_batch(2, 50);
  const std::string packed = folder / "packed.safetensors", floats = folder / "float.safetensors";
  save_run(folder / "run", task, options);
  export_model(folder / "run", ExportFormat::kPacked, OutputPath(packed));
  export_model(folder / "run", ExportFormat::kFloat, OutputPath(floats));
  const auto steps = read_plainly(packed, "_step");
  EXPECT_EQ(steps.size(), 28U);
  for (const auto& [name, values] : steps)
    for (const float value : values) ASSERT_GT(value, 0) << name;
  EXPECT_TRUE(read_plainly(floats, "_step").empty());

  task.model().eval();
  const at::Tensor fake_quantised = logits_of(task.model(), batch);
  EXPECT_TRUE(same_bits(logits_of(*load_model(packed).model, batch), fake_quantised));
  EXPECT_TRUE(same_bits(logits_of(*load_model(folder / "run").model, batch), fake_quantised));
}

class StepsAtARate : public testing::TestWithParam<double> {};
INSTANTIATE_TEST_SUITE_P(Rates, StepsAtARate, testing::Values(1e-3, 2e-3),
                         [](const auto& rate) { return rate.param == 1e-3 ? "Low" : "High"; });

TEST_P(StepsAtARate, ThatUpdatesDroveBelowZeroTravelAndAreExportedPositive) {
  const TemporaryFolder folder;
  const Options options = small_options("qat");
  const auto task = make_task(options);
  task->calibrate(text_batch(4));
  {
    const at::NoGradGuard no_grad;  // so near zero that some cross it within few steps
    for (const TrainedTensor& tensor : task->trained())
      if (tensor.name.ends_with("weight_step")) tensor.tensor.mul_(0.1);
  }
  train(*task, 30, GetParam());
  EXPECT_GT(task->take_clamped_steps(), 0) << "the test needs steps that crossed zero";
  for (const TrainedTensor& tensor : task->trained()) {
    if (tensor.name.ends_with("_step")) {
      EXPECT_GE(tensor.tensor.min().item<float>(), tensor.least) << tensor.name;
    }
  }
  expect_positive_steps(*task, options, folder);
}

// As checkpoints of before may hold them.
TEST(ExportModel, GivesPositiveStepsForNegativeOnesInACheckpoint) {
  const TemporaryFolder folder;
  const Options options = small_options("qat");
  const auto task = make_task(options);
  task->calibrate(text_batch(4));
  {
    const at::NoGradGuard no_grad;
    for (const TrainedTensor& tensor : task->trained())
      if (tensor.name.ends_with("_step")) tensor.tensor.view(-1)[0] = -0.25;
  }
  expect_positive_steps(*task, options, folder);
}

TEST_P(EveryLowBitKind, FloatFilesHoldWhatTheLayersMultiplyBy) {
  SavedTask saved(GetParam());
  const std::string file = saved.folder / "float.safetensors";
  export_model(saved.run, ExportFormat::kFloat, OutputPath(file));
  const LoadedModel loaded = load_model(file);
  EXPECT_EQ(loaded.options.task.kind, "pretrain");
  const NamedTensors expected = float_weights(saved.task->model(), FloatWeights::kEffective);
  const auto found = model_tensors(*loaded.model);
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : found) EXPECT_TRUE(same_bits(tensor, expected.at(name))) << name;
  // Only quantised inputs are lost in floats.
  if (std::string(GetParam()) == "distill") {
    EXPECT_TRUE(same_bits(logits_of(*loaded.model, saved.batch), saved.logits()));
  }
}

TEST(ExportModel, GivesAFloatModelBackAndHasNothingToPackInIt) {
  SavedTask saved("pretrain");
  const std::string file = saved.folder / "model.safetensors";
  export_model(saved.run, ExportFormat::kFloat, OutputPath(file));
  EXPECT_TRUE(same_bits(logits_of(*load_model(file).model, saved.batch), saved.logits()));
  EXPECT_THAT(message_of([&] { export_model(saved.run, ExportFormat::kPacked, OutputPath(file)); }),
              HasSubstr("low-bit layers"));
}

TEST(LoadModel, TakesTheNewestCheckpointOfARunAndNeverAnOlderOneUnasked) {
  SavedTask saved("pretrain");
  const at::Tensor first = saved.logits();
  train(*saved.task, 3);
  save_run(saved.run, *saved.task, saved.options, /*step=*/2);
  EXPECT_TRUE(same_bits(logits_of(*load_model(saved.run).model, saved.batch), saved.logits()));
  EXPECT_EQ(load_model(saved.run).step, 2);

  const std::string newest = saved.run + "/checkpoints/step-2";
  std::string bytes = test::read_bytes(newest + "/worker-0/state.safetensors");
  bytes[bytes.size() / 2] ^= 1;
  test::write_bytes(newest + "/worker-0/state.safetensors", bytes);
  for (const std::string& path : {saved.run, newest})
    EXPECT_THAT(message_of([&] { load_model(path); }), HasSubstr("step-2/worker-0/state.safetensors"));
  EXPECT_THAT(message_of([&] { load_model(saved.run); }), HasSubstr(saved.run + "/checkpoints/step-1"));
  const LoadedModel older = load_model(saved.run + "/checkpoints/step-1");
  EXPECT_TRUE(same_bits(logits_of(*older.model, saved.batch), first));
  EXPECT_EQ(older.step, 1);
}

TEST(LoadModel, MissesTheStepAtWhichTheRunEnded) {
  SavedTask saved("pretrain");
  write_file_atomically(saved.run + "/summary.json", hashed_json({{"steps", 2}}));
  EXPECT_THAT(
      message_of([&] { load_model(saved.run); }),
      testing::AllOf(HasSubstr("expected " + saved.run + "/checkpoints/step-2"), HasSubstr("step-1")));
  EXPECT_EQ(load_model(saved.run + "/checkpoints/step-1").step, 1);
}

TEST(LoadModel, RefusesATokenizerThatIsNotTheRunsByName) {
  SavedTask saved("pretrain");
  const std::string tokenizer = saved.run + "/tokenizer";
  std::string bytes = test::read_bytes(tokenizer);
  bytes.back() ^= 1;
  test::write_bytes(tokenizer, bytes);
  EXPECT_THAT(
      message_of([&] { load_model(saved.run); }),
      testing::AllOf(HasSubstr(tokenizer + ": expected XXH3-128"), HasSubstr("the checkpoint of step 1")));
  std::filesystem::remove(tokenizer);
  EXPECT_EQ(load_model(saved.run).tokenizer, "") << "on the hosts of other workers there is none";
}

// A model file with one of its values replaced.
class ChangedFile {
 public:
  explicit ChangedFile(ExportFormat format, const std::string& kind = "pretrain") : saved(kind) {
    export_model(saved.run, format, OutputPath(path));
  }
  void change(const std::string& name, std::int64_t index, double value) {
    SafetensorsFile file = read_safetensors(path);
    file.tensors.at(name).view({-1})[index] = value;
    write_safetensors(path, file);
  }
  // Every tensor of floats as another type.
  void convert(at::ScalarType type) {
    SafetensorsFile file = read_safetensors(path);
    for (auto& [name, tensor] : file.tensors)
      if (tensor.is_floating_point()) tensor = tensor.to(type);
    write_safetensors(path, file);
  }

  SavedTask saved;
  const std::string path = saved.folder / "changed.safetensors";
};

TEST(LoadModel, RefusesAValueThatIsNoNumberWithItsTensorAndIndex) {
  const std::string name = "blocks.0.mlp.up.weight";
  for (const auto& [value, what] : std::vector<std::pair<double, const char*>>{
           {std::nan(""), "[5] is NaN"}, {INFINITY, "[5] is infinite"}, {-INFINITY, "[5] is infinite"}}) {
    ChangedFile file(ExportFormat::kFloat);
    file.change(name, 5, value);
    EXPECT_THAT(message_of([&] { load_model(file.path); }), HasSubstr(file.path + ": " + name + what));
    Options options = small_options();
    options.model.from = file.path;
    EXPECT_THAT(message_of([&] { make_task(options); }), HasSubstr(file.path + ": " + name + what));
    options = small_options("distill");
    options.task.teacher = file.path;
    EXPECT_THAT(message_of([&] { make_task(options); }), HasSubstr(file.path + ": " + name + what));
    EXPECT_THAT(message_of([&] {
                  export_model(file.path, ExportFormat::kFloat, OutputPath(file.saved.folder / "out"));
                }),
                HasSubstr(name));
    EXPECT_FALSE(std::filesystem::exists(file.saved.folder / "out"));
  }
}

TEST(LoadModel, JudgesTheScalesOfPackedLayersAndTheWeightsOfCheckpoints) {
  ChangedFile packed(ExportFormat::kPacked, "qat");
  std::string scale;
  for (const auto& [name, tensor] : read_safetensors(packed.path).tensors)
    if (name.ends_with("weight_step")) scale = name;
  ASSERT_NE(scale, "");
  packed.change(scale, 1, std::nan(""));
  EXPECT_THAT(message_of([&] { load_model(packed.path); }), HasSubstr(scale + "[1] is NaN"));

  SavedTask saved("pretrain");
  {
    const at::NoGradGuard no_grad;
    saved.task->trained().front().tensor.view({-1})[3] = INFINITY;
  }
  save_run(saved.run, *saved.task, saved.options, /*step=*/2);
  EXPECT_THAT(message_of([&] { load_model(saved.run); }), HasSubstr("[3] is infinite"));
}

TEST(LoadModel, ReadsHalfFloatsAsFloats) {
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16}) {
    ChangedFile file(ExportFormat::kFloat);
    const NamedTensors before = read_safetensors(file.path).tensors;
    file.convert(type);
    for (const auto& [name, tensor] : model_tensors(*load_model(file.path).model))
      EXPECT_TRUE(same_bits(tensor, before.at(name).to(type).to(at::kFloat))) << name;
  }
  ChangedFile packed(ExportFormat::kPacked, "qat");
  packed.convert(at::kBFloat16);
  load_model(packed.path);
  ChangedFile file(ExportFormat::kFloat);
  file.convert(at::kDouble);
  EXPECT_THAT(message_of([&] { load_model(file.path); }), HasSubstr("expected float"));
}

TEST(ExportModel, KeepsTheStepOfTheModel) {
  ChangedFile file(ExportFormat::kFloat);
  EXPECT_EQ(load_model(file.path).step, 1);
  EXPECT_EQ(export_model(file.path, ExportFormat::kFloat, OutputPath(file.path)), 1);
}

TEST(LoadModel, RefusesWhatIsNoModelOfOurs) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "empty");
  EXPECT_THAT(message_of([&] { load_model(folder / "empty"); }), HasSubstr("there is no checkpoint"));
  EXPECT_THAT(message_of([&] { load_model(folder / "missing"); }), HasSubstr("found nothing there"));
  const std::string foreign = folder / "foreign.safetensors";
  write_safetensors(foreign, {.tensors = {{"w", at::zeros({2})}}, .metadata = {}});
  EXPECT_THAT(message_of([&] { load_model(foreign); }), HasSubstr("another program"));

  const auto refuses = [&](const std::string& description, const char* part) {
    write_safetensors(foreign, {.tensors = {{"w", at::zeros({2})}}, .metadata = {{"thinwire", description}}});
    EXPECT_THAT(message_of([&] { load_model(foreign); }),
                testing::AllOf(HasSubstr("foreign"), HasSubstr(part)));
  };
  refuses("not JSON", "description");
  refuses("[1]", "description");
  nlohmann::json description;
  describe_options(small_options(), description);
  refuses(description.dump(), "embedding.weight");
  description["packed"] = "yes";
  refuses(description.dump(), "description");
}

TEST(OptionsJson, ComesBackAsItWent) {
  Options options = small_options("lora");
  options.model.tied = false;
  options.model.mlp_width = 48;
  options.quant.rule = {{"a", "int2", "none"}, {"b", "none", "int4"}};
  options.lora = {"x", 3, 5.5, 0.25, "int8"};
  options.distill = {"y", 2, 3, 4, 5};
  nlohmann::json once, twice;
  describe_options(options, once);
  const Options back = described_options(nlohmann::json::parse(once.dump()));
  describe_options(back, twice);
  EXPECT_EQ(once, twice);
  EXPECT_EQ(back.quant.rule[1].activations, "int4");
  EXPECT_EQ(back.distill.labels, 5);
  EXPECT_FALSE(back.model.tied);
}

TEST(InheritedTokenizer, IsThatOfBaseAndTeacher) {
  SavedTask saved("pretrain");
  Options options;
  EXPECT_EQ(inherited_tokenizer(options), "");
  options.model.from = saved.run;
  options.task.teacher = saved.run;
  EXPECT_EQ(inherited_tokenizer(options), ByteTokenizer().to_bytes());

  const std::string other = saved.folder / "other";
  save_run(other, *saved.task, saved.options, /*step=*/1, "another tokenizer");
  options.task.teacher = other;
  EXPECT_THAT(message_of([&] { inherited_tokenizer(options); }), HasSubstr("differ"));
  std::filesystem::remove(other + "/tokenizer");
  EXPECT_THAT(message_of([&] { inherited_tokenizer(options); }), HasSubstr("found none"));
}

}  // namespace
}  // namespace thinwire::trainer
