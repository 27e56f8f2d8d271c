#include "launch/config/relevance.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "trainer/registries.h"

namespace thinwire::launch {
namespace {

using trainer::Options;

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// What a choice among registered names leaves idle: a key that some of them read, and the chosen one does
// not.
struct Choice {
  const char* key;
  const std::string& (*chosen)(const Options&);
  std::vector<trainer::EntryKeys> (*entries)();
};

constexpr Choice kChoices[] = {
    {"outer.method", [](const Options& o) -> const std::string& { return o.outer.method; },
     trainer::method_keys},
    {"inner.optimizer", [](const Options& o) -> const std::string& { return o.inner.optimizer; },
     trainer::optimizer_keys},
    {"task.kind", [](const Options& o) -> const std::string& { return o.task.kind; }, trainer::task_keys},
};

std::optional<Idle> idle_by(const Choice& choice, const std::string& key, const Options& options) {
  std::vector<std::string> readers;
  for (const trainer::EntryKeys& entry : choice.entries()) {
    if (contains(entry.keys, key)) readers.push_back(entry.name);
  }
  const std::string& chosen = choice.chosen(options);
  if (readers.empty() || contains(readers, chosen)) return std::nullopt;
  return Idle{fmt::format("means nothing to {} = {}", choice.key, chosen),
              fmt::format("leave it out, or take {}", fmt::join(readers, " or "))};
}

// A key that acts only beside certain values of another.
struct Condition {
  const char* key;
  bool (*acts)(const Options&);
  const char* why;
  const char* instead;
};

bool sends_topk(const Options& o) {
  return o.outer.codec == "topk" || o.outer.embeddings_codec == "topk";
}

bool sends_rounded(const Options& o) {
  return o.outer.codec != "fp32" || (!o.outer.embeddings_codec.empty() && o.outer.embeddings_codec != "fp32");
}

bool has_own_tokenizer(const Options& o) {
  return o.model.from.empty() && o.task.teacher.empty();
}

constexpr const char* kInherited =
    "means nothing to a run that starts from a model or has a teacher, whose tokenizer applies";

constexpr Condition kConditions[] = {
    {"data.tokenizer", has_own_tokenizer, kInherited, "leave it out"},
    {"data.vocab_size", has_own_tokenizer, kInherited, "leave it out"},
    {"data.vocab_size", [](const Options& o) { return o.data.tokenizer == "bpe"; },
     "is the size of a bpe that the run trains", "leave it out, or set data.tokenizer = bpe"},
    {"inner.final_lr", [](const Options& o) { return o.inner.schedule != "constant"; },
     "means nothing to inner.schedule = constant", "leave it out, or take cosine"},
    {"outer.rounding", sends_rounded, "means nothing to fp32, which does not round",
     "leave it out, or take another outer.codec"},
    {"outer.k", sends_topk, "is topk's", "leave it out, or set outer.codec = topk"},
    {"outer.decay", [](const Options& o) { return o.outer.error_feedback; },
     "means nothing without a residual", "leave it out, or set outer.error_feedback = true"},
};

}  // namespace

std::optional<Idle> find_idle(const std::string& key, const Options& options) {
  // First the method: where it does not read a key at all, another value of a second one would not help.
  for (const Choice& choice : kChoices) {
    if (auto idle = idle_by(choice, key, options)) return idle;
  }
  for (const Condition& condition : kConditions) {
    if (condition.key == key && !condition.acts(options)) return Idle{condition.why, condition.instead};
  }
  return std::nullopt;
}

}  // namespace thinwire::launch
