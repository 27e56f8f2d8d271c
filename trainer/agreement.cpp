#include "trainer/agreement.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <future>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "trainer/data/batches.h"
#include "trainer/data/tokenizer.h"
#include "trainer/format/file_io.h"
#include "trainer/model_file.h"
#include "trainer/options/options.h"
#include "trainer/outer/outer_loop.h"
#include "trainer/run_folder.h"
#include "trainer/task/task.h"

namespace thinwire::trainer {
namespace {

constexpr std::size_t kMaxRecordBytes = 16u << 20;
constexpr std::size_t kMaxTallyBytes = 256u << 20;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string text_of(const comm::Buffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.data()), buffer.size()};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string digest_of_tensor(const at::Tensor& tensor) {
  const at::Tensor whole = tensor.detach().contiguous();
  return xxh3_128_hex({static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()});
}

// The first worker that has read a source; its owner at the latest.
std::size_t first_reader(const std::vector<nlohmann::json>& texts, std::size_t source) {
  for (std::size_t worker = 0; worker < texts.size(); ++worker)
    if (texts[worker][source].at("xxh3_128") != "") return worker;
  throw std::logic_error("a source that no worker reads");
}

std::string described_text(const nlohmann::json& text) {
  return fmt::format("'{}' of {} bytes (digest {})", text.at("path").get<std::string>(),
                     text.at("bytes").get<std::uint64_t>(), text.at("xxh3_128").get<std::string>());
}

Tally read_tally(const comm::Buffer& buffer) {
  constexpr std::size_t kHead = 5;
  std::vector<std::uint64_t> numbers(buffer.size() / sizeof(std::uint64_t));
  std::memcpy(numbers.data(), buffer.data(), numbers.size() * sizeof(std::uint64_t));
  if (numbers.size() < kHead || numbers[0] > numbers.size() || numbers[1] > numbers.size() ||
      kHead + numbers[0] + numbers[1] != numbers.size())
    throw std::runtime_error("a worker's evaluation cannot be read; start all workers from the same build");
  const auto groups = numbers.begin() + kHead;
  const auto sums = groups + static_cast<std::ptrdiff_t>(numbers[0]);
  Tally tally{.groups = {groups, sums},
              .sums = {},
              .targets = static_cast<std::int64_t>(numbers[2]),
              .tokens = numbers[3],
              .bytes = numbers[4]};
  for (auto sum = sums; sum != numbers.end(); ++sum) tally.sums.push_back(std::bit_cast<double>(*sum));
  return tally;
}

}  // namespace

std::vector<nlohmann::json> gather_json(comm::ProgressEngine& engine, const nlohmann::json& mine,
                                        const std::string& what) {
  // JSON's text has no NaN, MessagePack has.
  const std::vector<std::uint8_t> packed = nlohmann::json::to_msgpack(mine);
  std::vector<nlohmann::json> all;
  for (const comm::Buffer& buffer : engine.gather(std::as_bytes(std::span(packed)), kMaxRecordBytes, what)) {
    const auto* begin = reinterpret_cast<const std::uint8_t*>(buffer.data());
    all.push_back(nlohmann::json::from_msgpack(begin, begin + buffer.size()));
  }
  return all;
}

void compare_configs(comm::ProgressEngine& engine, const std::string& shared_config) {
  const std::vector<nlohmann::json> all = gather_json(engine, lines_of(shared_config), "config");
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

void while_all_wait(comm::ProgressEngine& engine, double timeout_s,
                    const std::function<void(std::stop_token)>& job) {
  const std::chrono::duration<double> period(std::min(5.0, timeout_s / 4));
  std::packaged_task<void(std::stop_token)> task(job);
  std::future<void> done = task.get_future();
  const std::jthread worker(std::move(task));  // asks the job to stop, and joins, where a peer fails
  for (bool all = false; !all;) {
    const bool mine = !done.valid() || done.wait_for(period) == std::future_status::ready;
    if (mine && done.valid()) done.get();
    const std::byte flag{mine ? std::uint8_t{1} : std::uint8_t{0}};
    const std::vector<comm::Buffer> flags = engine.gather({&flag, 1}, 1, "preparing text");
    all = std::all_of(flags.begin(), flags.end(), [](const comm::Buffer& other) {
      return other.size() == 1 && other[0] == std::byte{1};
    });
  }
}

void compare_texts(comm::ProgressEngine& engine, std::vector<Source>& sources) {
  nlohmann::json mine = nlohmann::json::array();
  for (const Source& source : sources) {
    mine.push_back({{"path", source.path},
                    {"bytes", source.bytes},
                    {"xxh3_128", source.text == nullptr ? "" : source.hash}});
  }
  const std::vector<nlohmann::json> all = gather_json(engine, mine, "texts");
  for (std::size_t worker = 1; worker < all.size(); ++worker) {
    if (all[worker].size() == all[0].size()) continue;
    throw std::runtime_error(fmt::format(
        "workers have different text: data.path has {} entries on worker 0 and {} on worker {}; start all "
        "with one data.path",
        all[0].size(), all[worker].size(), worker));
  }
  for (std::size_t s = 0; s < sources.size(); ++s) {
    const std::size_t reader = first_reader(all, s);
    const nlohmann::json& text = all[reader][s];
    for (std::size_t worker = reader + 1; worker < all.size(); ++worker) {
      const nlohmann::json& other = all[worker][s];
      if (other.at("xxh3_128") == "" || other.at("xxh3_128") == text.at("xxh3_128")) continue;
      throw std::runtime_error(fmt::format(
          "workers have different text: worker {} has {}, worker {} has {}; copy data.path to all hosts",
          reader, described_text(text), worker, described_text(other)));
    }
    text.at("bytes").get_to(sources[s].bytes);
    text.at("xxh3_128").get_to(sources[s].hash);
  }
}

std::vector<Tally> gather_tallies(comm::ProgressEngine& engine, const Tally& mine) {
  std::vector<std::uint64_t> numbers = {mine.groups.size(), mine.sums.size(),
                                        static_cast<std::uint64_t>(mine.targets), mine.tokens, mine.bytes};
  numbers.insert(numbers.end(), mine.groups.begin(), mine.groups.end());
  for (const double sum : mine.sums) numbers.push_back(std::bit_cast<std::uint64_t>(sum));
  std::vector<Tally> tallies;
  for (const comm::Buffer& buffer :
       engine.gather(std::as_bytes(std::span(numbers)), kMaxTallyBytes, "evaluation"))
    tallies.push_back(read_tally(buffer));
  return tallies;
}

std::unique_ptr<Tokenizer> agree_on_tokenizer(comm::ProgressEngine& engine, const Options& options,
                                              bool resume, const TextWatch& watch) {
  const std::string path = options.run.dir + "/tokenizer";
  std::string bytes;
  while_all_wait(engine, options.comm.timeout_s, [&](std::stop_token stop) {
    if (engine.rank() != 0) return;
    if (resume) {
      if (!std::filesystem::exists(path))
        throw std::runtime_error(path +
                                 ": expected the tokenizer of the run, found nothing; put the file back");
      bytes = read_whole_file(path, kMaxTokenizerBytes);
      return;
    }
    bytes = inherited_tokenizer(options);
    if (bytes.empty())
      bytes = make_tokenizer(options.data, {watch.on_notice, watch.on_warning, stop})->to_bytes();
  });
  return tokenizer_from_bytes(text_of(engine.broadcast(0, bytes_of(bytes), kMaxTokenizerBytes)));
}

void require_room_for(const Tokenizer& tokenizer, std::int64_t model_vocab) {
  if (model_vocab >= tokenizer.vocab_size()) return;
  throw std::invalid_argument(
      fmt::format("model.vocab: expected at least the {} tokens of the run's tokenizer, found {}; leave "
                  "model.vocab out, or choose a smaller tokenizer",
                  tokenizer.vocab_size(), model_vocab));
}

void broadcast_calibration(comm::ProgressEngine& engine, Task& task, Batches& batches,
                           const Options& options) {
  const State position = batches.state();
  const std::vector<std::string> names =
      task.calibrate(batches.next(options.inner.batch / options.inner.accumulate));
  batches.load(position);

  at::NoGradGuard no_grad;
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

nlohmann::json references_of(const Task& task) {
  nlohmann::json digests = nlohmann::json::object();
  for (const Reference& reference : task.references()) digests[reference.key] = reference.digest;
  return digests;
}

void compare_references(comm::ProgressEngine& engine, const Task& task, const nlohmann::json& saved) {
  nlohmann::json mine = nlohmann::json::array();
  for (const Reference& reference : task.references())
    mine.push_back({{"key", reference.key}, {"what", reference.what}, {"digest", reference.digest}});
  const std::vector<nlohmann::json> all = gather_json(engine, mine, "references");
  for (std::size_t i = 0; i < mine.size(); ++i) {
    const nlohmann::json& first = all.front().at(i);
    const std::string key = first.at("key");
    const auto describe = [](const nlohmann::json& reference) {
      return fmt::format("{} (digest {})", reference.at("what").get<std::string>(),
                         reference.at("digest").get<std::string>());
    };
    for (std::size_t worker = 1; worker < all.size(); ++worker)
      if (all[worker].at(i).at("digest") != first.at("digest"))
        throw std::runtime_error(
            fmt::format("{}: worker 0 has {}, worker {} has {}; give all hosts the same one, or name one "
                        "checkpoint of it "
                        "(RUN/checkpoints/step-N)",
                        key, describe(first), worker, describe(all[worker].at(i))));
    if (saved.contains(key) && saved.at(key) != first.at("digest"))
      throw std::runtime_error(fmt::format(
          "{}: expected what the run began with (digest {}), found {}; put that back, or name the checkpoint "
          "that it was: --set {}=RUN/checkpoints/step-N",
          key, saved.at(key).get<std::string>(), describe(first), key));
  }
}

namespace {

// "step 20 whole, step 30 damaged (FILE: expected ..., found ...)"
std::string describe_checks(const nlohmann::json& checks) {
  std::string text;
  for (const nlohmann::json& check : checks) {
    const std::string problem = check.at("problem");
    text += fmt::format("{}step {} {}", text.empty() ? "" : ", ", check.at("step").get<std::int64_t>(),
                        problem.empty() ? "whole" : "damaged (" + problem + ")");
  }
  return text.empty() ? "none" : text;
}

std::set<std::int64_t> whole_steps_of(const nlohmann::json& checks) {
  std::set<std::int64_t> steps;
  for (const nlohmann::json& check : checks)
    if (check.at("problem") == "") steps.insert(check.at("step").get<std::int64_t>());
  return steps;
}

std::optional<std::int64_t> newest_in_all(const std::vector<std::set<std::int64_t>>& sets) {
  std::set<std::int64_t> common = sets.front();
  for (const auto& steps : sets)
    std::erase_if(common, [&](std::int64_t step) { return !steps.contains(step); });
  return common.empty() ? std::nullopt : std::optional(*common.rbegin());
}

// Why newer checkpoints than that of `step` do not count; empty if there are none.
std::string passed_over(const std::vector<nlohmann::json>& all, std::int64_t step) {
  std::set<std::int64_t> newer;
  for (const nlohmann::json& checks : all)
    for (const nlohmann::json& check : checks)
      if (check.at("step") > step) newer.insert(check.at("step").get<std::int64_t>());
  if (newer.empty()) return {};
  std::string why;
  for (std::size_t worker = 0; worker < all.size(); ++worker) {
    const auto found = std::find_if(all[worker].begin(), all[worker].end(), [&](const nlohmann::json& check) {
      return check.at("step") == *newer.rbegin();
    });
    if (found == all[worker].end()) {
      why += fmt::format("; worker {} has none", worker);
    } else if (found->at("problem") != "") {
      why += fmt::format("; worker {}: {}", worker, found->at("problem").get<std::string>());
    }
  }
  return fmt::format("the checkpoint of step {} is not whole on all workers{}", *newer.rbegin(), why);
}

// The step of the only checkpoint, where the run ended before all workers had written it; 0 where there is
// none. Nothing if one that all held may be lost.
std::optional<std::int64_t> unfinished_first(const std::vector<nlohmann::json>& all) {
  std::int64_t first = 0;
  for (const nlohmann::json& checks : all)
    for (const nlohmann::json& check : checks) {
      const std::int64_t step = check.at("step");
      if (check.at("problem") != "" || check.at("on_all_workers") == true || (first != 0 && step != first))
        return {};
      first = step;
    }
  return first;
}

}  // namespace

ResumePoint agree_on_resume(comm::ProgressEngine& engine, const std::string& run_dir,
                            const std::vector<CheckpointCheck>& mine, bool start_over) {
  nlohmann::json checks = nlohmann::json::array();
  for (const CheckpointCheck& check : mine)
    checks.push_back(
        {{"step", check.step},
         {"on_all_workers", check.on_all_workers},
         {"problem",
          check.problems.empty() ? "" : check.problems.front().file + ": " + check.problems.front().what}});
  const std::vector<nlohmann::json> all = gather_json(engine, checks, "checkpoints");
  std::vector<std::set<std::int64_t>> whole;
  for (const nlohmann::json& one : all) whole.push_back(whole_steps_of(one));
  if (const auto step = newest_in_all(whole)) return {*step, passed_over(all, *step)};
  if (start_over) return {};
  if (const auto first = unfinished_first(all))
    return {0, *first == 0 ? ""
                           : fmt::format("the first checkpoint, of step {}, was not finished on all workers",
                                         *first)};
  std::string found;
  for (std::size_t worker = 0; worker < all.size(); ++worker)
    found += fmt::format("\n  worker {}: {}", worker, describe_checks(all[worker]));
  throw std::runtime_error(fmt::format(
      "{} has checkpoints, but no step at which every one of the {} workers has a whole one:{}\nPut "
      "the missing files back (each worker's are on its own host), or begin again at step 0: "
      "thinwire resume {} --start-over",
      run_dir, all.size(), found, run_dir));
}

std::optional<std::int64_t> newest_common_step(const std::vector<nlohmann::json>& records) {
  std::vector<std::set<std::int64_t>> held;
  for (const nlohmann::json& record : records)
    held.push_back(record.at("held").get<std::set<std::int64_t>>());
  return newest_in_all(held);
}

}  // namespace thinwire::trainer
