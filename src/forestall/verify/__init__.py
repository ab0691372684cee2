"""The stand-alone evidence verifier: needs an exported bundle and nothing else; no server, no network."""

from forestall.verify.bundle import WrongFileError, verify_bundle
from forestall.verify.verdict import ClientVerdict, DeviceVerdict, Problem, Verdict

__all__ = ["ClientVerdict", "DeviceVerdict", "Problem", "Verdict", "WrongFileError", "verify_bundle"]
