#include <charconv>
#include <stdexcept>

#include "trainer/model/language_model.h"
#include "trainer/model/llama.h"

namespace thinwire::trainer {
namespace {

struct Arch {
  const char* name;
  std::shared_ptr<LanguageModel> (*make)(const ModelOptions&, const quant::LinearFactory&,
                                         std::uint64_t seed);
};

constexpr Arch kArchs[] = {
    {"llama", make_llama},
};

}  // namespace

std::int64_t block_of(const std::string& parameter_name) {
  constexpr std::string_view kStart = "blocks.";
  if (!parameter_name.starts_with(kStart)) return -1;
  const char* const end = parameter_name.data() + parameter_name.size();
  std::int64_t block = -1;
  const auto [rest, error] = std::from_chars(parameter_name.data() + kStart.size(), end, block);
  return error == std::errc() && rest != end && *rest == '.' ? block : -1;
}

std::shared_ptr<LanguageModel> make_model(const ModelOptions& options, const quant::LinearFactory& linear,
                                          std::uint64_t seed) {
  std::string known;
  for (const Arch& arch : kArchs) {
    if (options.arch == arch.name) return arch.make(options, linear, seed);
    known += (known.empty() ? "" : ", ") + std::string(arch.name);
  }
  throw std::invalid_argument("[model] expected an arch among: " + known + "; found '" + options.arch + "'");
}

}  // namespace thinwire::trainer
