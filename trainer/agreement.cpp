#include "trainer/agreement.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>
#include <stdexcept>

#include "trainer/format/file_io.h"
#include "trainer/model_file.h"
#include "trainer/run_folder.h"

namespace thinwire::trainer {
namespace {

constexpr std::size_t kMaxRecordBytes = 16u << 20;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string text_of(const comm::Buffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.data()), buffer.size()};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (!line.starts_with("dir =")) lines.push_back(line);
  return lines;
}

std::string digest_of_tensor(const at::Tensor& tensor) {
  const at::Tensor whole = tensor.detach().contiguous();
  return xxh3_128_hex({static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()});
}

}  // namespace

std::vector<nlohmann::json> gather_json(comm::ProgressEngine& engine, const nlohmann::json& mine,
                                        const std::string& what) {
  std::vector<nlohmann::json> all;
  for (const comm::Buffer& buffer : engine.gather(bytes_of(mine.dump()), kMaxRecordBytes, what))
    all.push_back(nlohmann::json::parse(text_of(buffer)));
  return all;
}

void compare_configs(comm::ProgressEngine& engine, const std::string& config_toml) {
  const std::vector<nlohmann::json> all = gather_json(engine, lines_of(config_toml), "config");
  const auto first = all.front().get<std::vector<std::string>>();
  for (std::size_t worker = 1; worker < all.size(); ++worker) {
    const auto other = all[worker].get<std::vector<std::string>>();
    const auto [a, b] = std::mismatch(first.begin(), first.end(), other.begin(), other.end());
    if (a == first.end() && b == other.end()) continue;
    throw std::invalid_argument(
        fmt::format("workers were started with different configs: worker 0 has `{}`, worker {} has `{}`; "
                    "start all with one config",
                    a == first.end() ? "nothing" : *a, worker, b == other.end() ? "nothing" : *b));
  }
}

std::unique_ptr<Tokenizer> agree_on_tokenizer(comm::ProgressEngine& engine, const Options& options,
                                              bool resume) {
  const std::string path = options.run.dir + "/tokenizer";
  std::string bytes;
  if (engine.rank() == 0 && resume && std::filesystem::exists(path)) {
    bytes = read_whole_file(path, kMaxTokenizerBytes);
  } else if (engine.rank() == 0) {
    bytes = inherited_tokenizer(options);
    if (bytes.empty()) bytes = make_tokenizer(options.data)->to_bytes();
    write_file_atomically(path, bytes);
  }
  return tokenizer_from_bytes(text_of(engine.broadcast(0, bytes_of(bytes), kMaxTokenizerBytes)));
}

void broadcast_calibration(comm::ProgressEngine& engine, Task& task, Batches& batches,
                           const Options& options) {
  const State position = batches.state();
  const std::vector<std::string> names =
      task.calibrate(batches.next(options.inner.batch / options.inner.accumulate));
  batches.load(position);

  torch::NoGradGuard no_grad;
  for (const TrainedTensor& t : task.trained()) {
    if (std::find(names.begin(), names.end(), t.name) == names.end()) continue;
    const std::size_t size = t.tensor.nbytes();
    const std::span<const std::byte> mine(static_cast<const std::byte*>(t.tensor.const_data_ptr()), size);
    const comm::Buffer agreed = engine.broadcast(0, mine, size);
    if (agreed.size() != size)
      throw std::runtime_error(
          fmt::format("calibration of {}: expected {} bytes from worker 0, found {}; the workers "
                      "have different models",
                      t.name, size, agreed.size()));
    std::memcpy(t.tensor.data_ptr(), agreed.data(), size);
  }
}

void compare_agreed(comm::ProgressEngine& engine, OuterLoop& outer, Task& task, const std::string& when) {
  nlohmann::json mine = nlohmann::json::object();
  for (const auto& [name, tensor] : outer.agreed()) mine[name] = digest_of_tensor(tensor);
  for (const auto& [name, tensor] : task.frozen()) mine[name] = digest_of_tensor(tensor);
  mine["the outer momentum"] = outer.digest();
  const std::vector<nlohmann::json> all = gather_json(engine, mine, "digests " + when);
  for (std::size_t worker = 1; worker < all.size(); ++worker)
    for (const auto& [name, digest] : all.front().items())
      if (all[worker].value(name, "") != digest)
        throw std::runtime_error(fmt::format(
            "workers differ {}: {} has digest {} on worker 0 and {} on worker {}; start all workers from "
            "the same build, config, seed and files",
            when, name, digest.get<std::string>(), all[worker].value(name, "(missing)"), worker));
}

std::int64_t newest_common_step(comm::ProgressEngine& engine, const std::vector<std::int64_t>& whole_steps) {
  const std::vector<nlohmann::json> all = gather_json(engine, whole_steps, "whole checkpoints");
  auto common = all.front().get<std::set<std::int64_t>>();
  std::string found;
  std::size_t most = 0;
  for (std::size_t worker = 0; worker < all.size(); ++worker) {
    const auto steps = all[worker].get<std::set<std::int64_t>>();
    std::erase_if(common, [&](std::int64_t step) { return !steps.contains(step); });
    most = std::max(most, steps.size());
    found += fmt::format("; worker {}: {}", worker, all[worker].dump());
  }
  if (!common.empty()) return *common.rbegin();
  if (most <= 1) return 0;  // at most killed while the first one was written
  throw std::runtime_error(
      "no step at which every worker has a whole checkpoint (was the run of another number of "
      "workers, or is a worker's folder missing?)" +
      found);
}

}  // namespace thinwire::trainer
