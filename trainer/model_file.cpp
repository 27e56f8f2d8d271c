#include "trainer/model_file.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <stdexcept>

#include "quant/nn/low_bit_linear.h"
#include "trainer/checkpoint.h"
#include "trainer/data/tokenizer.h"
#include "trainer/finite.h"
#include "trainer/format/file_io.h"
#include "trainer/model/language_model.h"
#include "trainer/model/layers_of.h"
#include "trainer/model_tensors.h"
#include "trainer/options_json.h"
#include "trainer/run_folder.h"
#include "trainer/task/task_kind.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;

// In exported files.
constexpr char kDescription[] = "thinwire";       // metadata: the description as JSON
constexpr char kTokenizerTensor[] = "tokenizer";  // uint8: Tokenizer::to_bytes()

// What a path holds, before there is a model.
struct StoredModel {
  std::string path;
  Options options;
  bool packed = false;
  NamedTensors tensors;
  std::string tokenizer;
  std::optional<std::int64_t> step;
  std::string corpus;
};

// A run, and which of its checkpoints; without a value, any.
struct CheckpointPath {
  fs::path run;
  std::optional<std::int64_t> step;
  std::optional<int> worker;
};

CheckpointPath parse_checkpoint_path(const std::string& path) {
  fs::path folder = fs::absolute(path).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  CheckpointPath found{.run = folder, .step = {}, .worker = {}};
  if (const auto worker = number_after("worker-", folder.filename().string())) {
    found.worker = static_cast<int>(*worker);
    folder = folder.parent_path();
  }
  if (const auto step = number_after("step-", folder.filename().string())) {
    found.step = step;
    found.run = folder.parent_path().parent_path();
  }
  return found;
}

// Where a run ended; nothing while it is on, and where its summary is damaged.
std::optional<std::int64_t> last_step_of(const fs::path& run) {
  const std::string summary = run / "summary.json";
  if (!fs::exists(summary)) return {};
  try {
    return read_hashed_json(summary).at("steps").get<std::int64_t>();
  } catch (const std::exception&) {
    return {};
  }
}

// The newest checkpoint that fits, of the lowest worker that has a whole one. An older step is another model,
// so it is not taken unasked.
CheckpointCheck choose_checkpoint(const std::string& path, const CheckpointPath& wanted) {
  std::vector<CheckpointCheck> fitting = verify_checkpoints(wanted.run.string());
  std::erase_if(fitting, [&](const CheckpointCheck& check) {
    return wanted.step.value_or(check.step) != check.step ||
           wanted.worker.value_or(check.worker) != check.worker;
  });
  if (fitting.empty())
    throw std::runtime_error(path + ": expected a run, or a checkpoint of one, with a whole checkpoint in " +
                             (wanted.run / "checkpoints").string() + "; there is no checkpoint");
  // Ordered by step and worker.
  const std::int64_t newest = fitting.back().step;
  if (const auto last = last_step_of(wanted.run); last && !wanted.step && *last > newest)
    throw std::runtime_error(
        fmt::format("{}: expected {}/checkpoints/step-{}, where the run ended as summary.json says; the "
                    "newest there is step-{}: "
                    "to take that, name it",
                    path, wanted.run.string(), *last, newest));
  const auto is_good = [&](const CheckpointCheck& check) { return check.whole && check.step == newest; };
  if (const auto good = std::find_if(fitting.begin(), fitting.end(), is_good); good != fitting.end())
    return *good;
  const CheckpointProblem& problem = fitting.back().problems.front();
  const auto older = std::find_if(fitting.rbegin(), fitting.rend(), [](const auto& c) { return c.whole; });
  throw std::runtime_error(fmt::format("{}: expected a whole checkpoint of step {}, the newest; {}: {}{}",
                                       path, newest, problem.file, problem.what,
                                       older == fitting.rend()
                                           ? ""
                                           : fmt::format("; an older one is whole: {}/checkpoints/step-{}",
                                                         wanted.run.string(), older->step)));
}

// Sets what a model's layers follow from.
void read_description(const nlohmann::json& description, StoredModel& stored) {
  try {
    stored.options = described_options(description);
    stored.packed = description.value("packed", false);
    if (description.contains("step")) stored.step = description["step"].get<std::int64_t>();
  } catch (const nlohmann::json::exception& error) {
    throw std::runtime_error(stored.path + ": the description of the model cannot be used: " + error.what());
  }
}

// A model with a number that is none says nothing, and whatever trains on from it is lost.
void require_finite(const StoredModel& stored) {
  const auto problem = describe_nonfinite({stored.tensors.begin(), stored.tensors.end()});
  if (!problem) return;
  throw std::runtime_error(fmt::format(
      "{}: {}; expected finite weights: take an older checkpoint, or make the file again from one",
      stored.path, *problem));
}

void widen_half_floats(NamedTensors& tensors) {
  for (auto& [name, tensor] : tensors) {
    if (tensor.scalar_type() == at::kHalf || tensor.scalar_type() == at::kBFloat16)
      tensor = tensor.to(at::kFloat);
  }
}

StoredModel read_checkpoint(const std::string& path) {
  const CheckpointPath wanted = parse_checkpoint_path(path);
  const CheckpointCheck chosen = choose_checkpoint(path, wanted);
  const State state = CheckpointStore(wanted.run.string(), chosen.worker, /*keep=*/1).load(chosen.step);
  StoredModel stored;
  stored.path = path;
  stored.step = chosen.step;
  stored.corpus = state.part("data").meta.value("corpus", "");
  read_description(state.meta, stored);
  stored.tensors = state.part("agreed").tensors;
  stored.tensors.merge(state.part("frozen").tensors);
  // On the hosts of other workers than the first there is none.
  if (const std::string tokenizer = wanted.run / "tokenizer"; fs::exists(tokenizer)) {
    require_stored_tokenizer(wanted.run.string(), state.meta);
    stored.tokenizer = read_whole_file(tokenizer, kMaxTokenizerBytes);
  }
  return stored;
}

StoredModel read_exported(const std::string& path) {
  SafetensorsFile file = read_safetensors(path);
  const auto text = file.metadata.find(kDescription);
  if (text == file.metadata.end())
    throw std::runtime_error(
        path +
        ": expected a model exported by thinwire (metadata 'thinwire'), found a safetensors "
        "file of another program; such files cannot be opened yet");
  const nlohmann::json description = nlohmann::json::parse(text->second, nullptr, /*allow_exceptions=*/false);
  StoredModel stored;
  stored.path = path;
  read_description(description, stored);
  if (const auto bytes = file.tensors.extract(kTokenizerTensor)) {
    const at::Tensor tokenizer = bytes.mapped().contiguous();
    stored.tokenizer.assign(static_cast<const char*>(tokenizer.const_data_ptr()), tokenizer.nbytes());
  }
  stored.tensors = std::move(file.tensors);
  widen_half_floats(stored.tensors);
  return stored;
}

StoredModel read_model(const std::string& path) {
  if (!fs::exists(path))
    throw std::runtime_error(path +
                             ": expected a run, a checkpoint or an exported model, found nothing there");
  StoredModel stored = fs::is_directory(path) ? read_checkpoint(path) : read_exported(path);
  require_finite(stored);
  return stored;
}

LoadedModel build(StoredModel stored) {
  const TaskKind& kind = find_task_kind(stored.options.task.kind);
  const auto layers = stored.packed ? kind.packed_layers : kind.layers;
  LoadedModel loaded{.model = make_model(stored.options.model, layers(stored.options), /*seed=*/0),
                     .options = std::move(stored.options),
                     .tokenizer = std::move(stored.tokenizer),
                     .step = stored.step,
                     .corpus = std::move(stored.corpus)};
  set_model_tensors(*loaded.model, stored.tensors, stored.path);
  loaded.model->eval();
  for (at::Tensor& parameter : loaded.model->parameters()) parameter.requires_grad_(false);
  return loaded;
}

at::Tensor bytes_tensor(const std::string& bytes) {
  const at::Tensor tensor = at::empty({static_cast<std::int64_t>(bytes.size())}, at::kByte);
  std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

}  // namespace

LoadedModel load_model(const std::string& path) {
  return build(read_model(path));
}

std::optional<std::int64_t> export_model(const std::string& from, ExportFormat format,
                                         const OutputPath& out) {
  LoadedModel source = load_model(from);
  if (format == ExportFormat::kPacked && layers_of<quant::LowBitLinear>(*source.model).empty())
    throw std::runtime_error(from + ": expected a model with low-bit layers to pack, found task '" +
                             source.options.task.kind +
                             "', which is deployed in float; export it to safetensors");
  SafetensorsFile file;
  nlohmann::json description;
  if (format == ExportFormat::kFloat) {
    file.tensors = float_weights(*source.model, FloatWeights::kEffective);
    source.options.task.kind = "pretrain";
  } else {
    file.tensors = packed_tensors(*source.model);
    description["packed"] = true;
  }
  describe_options(source.options, description);
  if (source.step) description["step"] = *source.step;
  file.metadata[kDescription] = description.dump();
  if (!source.tokenizer.empty()) file.tensors[kTokenizerTensor] = bytes_tensor(source.tokenizer);
  out.write([&](OutputFile& output) { write_safetensors(output, file); });
  return source.step;
}

void require_stored_tokenizer(const std::string& run_dir, const nlohmann::json& checkpoint_meta) {
  require_digest(run_dir + "/tokenizer", checkpoint_meta.at("tokenizer").get<std::string>(),
                 fmt::format("the checkpoint of step {}", checkpoint_meta.at("step").get<std::int64_t>()));
}

std::string inherited_tokenizer(const Options& options) {
  std::string tokenizer, owner;
  for (const std::string& path : {options.model.from, options.task.teacher}) {
    if (path.empty()) continue;
    const std::string found = read_model(path).tokenizer;
    if (found.empty()) throw std::runtime_error(path + ": expected a tokenizer beside the model, found none");
    if (!tokenizer.empty() && found != tokenizer)
      throw std::runtime_error(
          fmt::format("the tokenizers of {} and {} differ; expected one for both", owner, path));
    tokenizer = found;
    owner = path;
  }
  return tokenizer;
}

}  // namespace thinwire::trainer
