#include <charconv>

#include "trainer/model/language_model.h"
#include "trainer/model/llama.h"
#include "trainer/model/model_layers.h"
#include "trainer/named.h"
#include "trainer/registries.h"

namespace thinwire::trainer {
namespace {

struct Arch {
  const char* name;
  std::shared_ptr<LanguageModel> (*make)(const ModelOptions&, const quant::LinearFactory&,
                                         std::uint64_t seed);
  ModelOptions (*settled)(const ModelOptions&);
  std::vector<LayerShape> (*layers)(const ModelOptions&);
};

constexpr Arch kArchs[] = {
    {"llama", make_llama, settled_llama_sizes, llama_layers},
};

const Arch& find_arch(const std::string& name) {
  return find_named(kArchs, "model.arch", name);
}

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
  return find_arch(options.arch).make(options, linear, seed);
}

ModelOptions settled_sizes(const ModelOptions& options) {
  return find_arch(options.arch).settled(options);
}

std::vector<LayerShape> model_layers(const ModelOptions& options) {
  return find_arch(options.arch).layers(options);
}

std::vector<std::string> model_archs() {
  return names_of(kArchs);
}

}  // namespace thinwire::trainer
