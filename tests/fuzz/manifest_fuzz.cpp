// Manifests of checkpoints. A text with a good hash of itself is rare among random ones, so the input may be
// sealed before it is read: then what stands behind the hash is looked at.
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "tests/fuzz/input.h"
#include "trainer/format/manifest.h"

namespace thinwire::fuzz {
namespace {

using nlohmann::json;

constexpr const char* kSelfHash = "manifest_xxh3_128";

std::string sealed(const std::string& text) {
  json root = json::parse(text, nullptr, false);
  if (!root.is_object()) return text;
  root.erase(kSelfHash);
  root[kSelfHash] = trainer::xxh3_128_hex(root.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
  return root.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

std::vector<std::string> seeds() {
  trainer::Manifest manifest{
      100, 3, {{"state.safetensors", {4328, trainer::xxh3_128_hex("tensors")}}}, {}, {}};
  manifest.tensors = {{"live/w", {"F32", {3, 4}}}, {"step", {"I64", {}}}};
  manifest.meta = {{"loss", 0.1}, {"steps", {1, -2, 3.5, 1e300}}, {"bound", {{"$number", "inf"}}}};
  const std::string text = trainer::to_text(manifest);
  return {Seed().put(std::uint8_t{0}).text() + text, Seed().put(std::uint8_t{1}).text() + text};
}

}  // namespace thinwire::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinwire;
  fuzz::Input input(data, size);
  const bool seal = input.take<std::uint8_t>() % 2 == 1;
  const std::string text = seal ? fuzz::sealed(input.rest_as_text()) : input.rest_as_text();
  try {
    const trainer::Manifest manifest = trainer::parse_manifest(text);
    for (const auto& [name, digest] : manifest.files) {
      fuzz::require(name.find('/') == std::string::npos && name != "..", "files lie beside the manifest");
    }
    const std::string again = trainer::to_text(manifest);
    fuzz::require(trainer::to_text(trainer::parse_manifest(again)) == again, "a manifest has one text");
  } catch (const std::runtime_error&) {
  }
  return 0;
}
